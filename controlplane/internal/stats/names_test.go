package stats

import (
	"fmt"
	"strings"
	"testing"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestNamesFold(t *testing.T) {
	for _, c := range []struct{ model, want, why string }{
		{"llama3:8b", "llama3:8b", "an ordinary name"},
		{"", "", "the request named none"},
		{"модель 7", "модель 7", "any script, and spaces"},
		{strings.Repeat("x", 200), strings.Repeat("x", 200), "just short enough"},
		{strings.Repeat("x", 201), "other", "too long"},
		{"a\x00b", "other", "a zero byte"},
		{"a\nb", "other", "a line break"},
		{"a\xffb", "other", "not UTF-8"},
		{"a\u202eb", "other", "turns the text around"},
	} {
		if got := newNames().model("p", c.model).model; got != c.want {
			t.Errorf("%s: got %q, want %q", c.why, got, c.want)
		}
	}
	for _, c := range []struct{ provider, want pool.ProviderID }{
		{"ollama", "ollama"},
		{"my-own-2", "my-own-2"},
		{"", "other"},
		{"A", "other"},
		{"a\x00b", "other"},
		{pool.ProviderID(strings.Repeat("x", 64)), "other"},
	} {
		if got := newNames().provider(c.provider); got != c.want {
			t.Errorf("provider %q: got %q, want %q", c.provider, got, c.want)
		}
	}
}

// However many models and providers nodes invent, rows are bounded and totals leave nothing out, over restarts too.
func TestNamesBounded(t *testing.T) {
	f := newFixture(t)
	seq := uint64(0)
	send := func(provider pool.ProviderID, model string) {
		seq++
		f.Submit(Batch{Node: "n", Epoch: 1, Seq: seq, Tokens: []TokenDelta{
			{Token: 1, Provider: provider, Model: model, Counts: RequestCounts{RequestOK: 1}},
		}})
	}
	for i := range 1500 {
		send("p", fmt.Sprint("first-", i))
	}
	f.commitNow()
	f.reopen()
	for i := range 1500 {
		send("q", fmt.Sprint("second-", i))
		send(pool.ProviderID(fmt.Sprint("r-", i)), "m")
	}
	f.commitNow()
	f.checkpointNow()
	f.reopen()
	send("p", "first-7")
	send("p", "one too many")
	f.commitNow()

	models, providers := f.Models("", 1<<20), f.Providers()
	if n := len(f.names.models); n != maxModels {
		t.Errorf("got %d named models, want %d", n, maxModels)
	}
	if n := len(providers); n != maxProviders+1 {
		t.Errorf("got %d providers, want %d and other", n, maxProviders)
	}
	var total, byModel uint64
	for _, p := range providers {
		total += p.Requests.Total()
	}
	for _, m := range models {
		byModel += m.Requests.Total()
	}
	if total != seq || byModel != seq || f.Token(1).Counts.Total() != seq {
		t.Errorf("got %d requests by provider, %d by model, %d by token, want %d", total, byModel, f.Token(1).Counts.Total(), seq)
	}
	if top := f.Models("p", 1); len(top) != 1 || top[0].Model != "first-7" || top[0].Requests.Total() != 2 {
		t.Errorf("got %v, want the known name first with 2", top)
	}
	if got := f.Models("p", 0); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}
