package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	keys, ledger := filepath.Join(dir, "keys.json"), filepath.Join(dir, "ledger.jsonl")
	if err := os.WriteFile(keys, []byte(`{"key-good":{},"key-hang":{"hang":true}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--keys-file", keys, "--ledger", ledger, "--models", "m1, m2"}, stdout, io.Discard)
	}()

	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var at struct {
		Listen        string `json:"listen"`
		ControlListen string `json:"control_listen"`
	}
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	call := func(ctx context.Context, method, url, key, body string) (int, string) {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(data)
	}
	chat, control := "http://"+at.Listen+"/v1/chat/completions", "http://"+at.ControlListen
	const ask = `{"model":"m2","messages":[{"role":"user","content":"hi"}]}`

	if code, body := call(t.Context(), "POST", chat, "key-good", ask); code != 200 || !strings.Contains(body, "echo: hi") {
		t.Errorf("a key of the file: %d %s", code, body)
	}
	if code, _ := call(t.Context(), "PUT", control+"/keys", "", `{"key-good":{"status":402}}`); code != 204 {
		t.Errorf("control API: %d", code)
	}
	if code, _ := call(t.Context(), "POST", chat, "key-good", ask); code != 402 {
		t.Errorf("a key that was set anew: %d", code)
	}
	if code, _ := call(t.Context(), "GET", control+"/healthz", "", ""); code != 200 {
		t.Errorf("healthz: %d", code)
	}

	hung := make(chan struct{})
	go func() {
		defer close(hung)
		call(context.WithoutCancel(ctx), "POST", chat, "key-hang", ask)
	}()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		_, body := call(t.Context(), "GET", control+"/ledger", "", "")
		if strings.Count(body, "\n") == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the hanging request never arrived: %s", body)
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("does not stop")
	}
	<-hung

	f, err := os.Open(ledger)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entries, err := fakellm.ReadLedger(f)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Outcome)
	}
	if want := "completed refused canceled"; strings.Join(got, " ") != want {
		t.Errorf("the ledger says %v, want %s", got, want)
	}
}

func TestRunRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"key-good":{"status":7}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		sentence string
		args     []string
		want     string
	}{
		{"All interfaces are not loopback", []string{"--listen", ":0"}, "not a loopback"},
		{"Nor is 0.0.0.0", []string{"--listen", "0.0.0.0:0"}, "not a loopback"},
		{"Nor for the control API", []string{"--control-listen", "192.0.2.1:0"}, "--control-listen: 192.0.2.1:0 is not"},
		{"A dialect must exist", []string{"--dialect", "klingon"}, "dialect"},
		{"A model must have a name", []string{"--models", "a,,b"}, "models"},
		{"A keys file must exist", []string{"--keys-file", bad + ".none"}, "open the keys"},
		{"A keys file must make sense", []string{"--keys-file", bad}, "status"},
		{"A ledger must be writable", []string{"--ledger", filepath.Dir(bad)}, "open the ledger"},
		{"Arguments are not for guessing", []string{"serve"}, "unexpected argument"},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := run(ctx, tt.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
