package proxy

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// FuzzWordsOfAVerdict plants the key that was used into what an upstream answers, wherever there is an @, and looks for any
// eight characters of it in what a client, the log and the control plane are told of it.
func FuzzWordsOfAVerdict(f *testing.F) {
	const secret = "zQ4-vN8_kW2.xR6~pT0" // no word of English in it
	f.Add(400, []byte(`{"error":{"message":"bad key @","type":"@","code":"@","param":"@"}}`))
	f.Add(403, []byte(`{"error":"@ was revoked"}`))
	f.Add(404, []byte("no @ here, nor x@, nor @@"))
	f.Add(200, []byte(`{"type":"error","code":"@","message":"\u0040 @"}`))
	f.Add(429, []byte(`{"error":{"message":"http://@.example/@?k=@","code":"rate_limit_exceeded"}}`))
	f.Add(503, []byte("event: error\ndata: {\"error\":{\"message\":\"@\"}}\n\n"))
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, status int, template []byte) {
		body := bytes.ReplaceAll(template, []byte("@"), []byte(secret))
		if bytes.Count(template, []byte("@")) > 100 {
			return
		}
		for _, name := range []string{"ollama", "openrouter", "openai"} {
			d, _ := provider.Lookup(name)
			a := &attempt{secret: secret, x: &exchange{model: "m", up: &upstream{host: "upstream.test", dialect: d}}}
			v, bad := d.JudgeEvent(body, now)
			if status != http.StatusOK || !bad {
				v = d.Judge(status, http.Header{"Retry-After": {secret}}, body, now)
			}
			v = a.redacted(v)
			for _, api := range []*clientAPI{openAIChat, openAIResponses, anthropic, ollamaChat} {
				told := string(api.errorBody(problemOf(v))) + string(api.errorEvent(problemOf(v))) + v.Message + v.Type + v.Code + v.Param
				for i := 0; i+secretWindow <= len(secret); i++ {
					if piece := secret[i : i+secretWindow]; strings.Contains(told, piece) {
						t.Fatalf("%s: %q is told: %s", name, piece, told)
					}
				}
			}
		}
	})
}
