package adminapi

import (
	"strings"
	"testing"
)

func TestBaseURL(t *testing.T) {
	for _, row := range []struct {
		raw     string
		private bool
		want    string // empty: refused
	}{
		{"https://ollama.com", false, "https://ollama.com"},
		{"https://ollama.com/", false, "https://ollama.com"},
		{"HTTPS://OpenRouter.AI/api/", false, "https://openrouter.ai/api"},
		{"https://host:8443/a/b-c_d.e~f", false, "https://host:8443/a/b-c_d.e~f"},
		{"https://[2606:4700::1111]/v1", false, "https://[2606:4700::1111]/v1"},
		{"https://[2606:4700:0:0::1111]", false, "https://[2606:4700::1111]"},
		{"https://93.184.216.34", false, "https://93.184.216.34"},
		{"https://xn--bcher-kva.example", false, "https://xn--bcher-kva.example"},
		{"http://127.0.0.1:11434", true, "http://127.0.0.1:11434"},
		{"http://localhost:11434/", true, "http://localhost:11434"},
		{"http://[::1]:11434", true, "http://[::1]:11434"},
		{"http://ollama_host:11434", true, "http://ollama_host:11434"},
		{"https://10.0.0.5/v1", true, "https://10.0.0.5/v1"},

		{"", false, ""},
		{"ollama.com", false, ""},
		{"//ollama.com", false, ""},
		{"https:", false, ""},
		{"https://", false, ""},
		{"https:ollama.com", false, ""},
		{"https:/ollama.com", false, ""},
		{"https:///v1", false, ""},
		{"http://ollama.com", false, ""},
		{"ftp://ollama.com", true, ""},
		{"file:///etc/passwd", true, ""},
		{"unix:///run/x", true, ""},
		{"javascript:alert(1)", true, ""},
		{"data:text/plain,x", true, ""},
		{"gopher://x", true, ""},
		{"https://user@ollama.com", false, ""},
		{"https://user:pass@ollama.com", false, ""},
		{"https://ollama.com@evil.example", false, ""},
		{"https://ollama.com?x=1", false, ""},
		{"https://ollama.com?", false, ""},
		{"https://ollama.com#x", false, ""},
		{"https://ollama.com#", false, ""},
		{"https://ollama.com\\@evil.example", false, ""},
		{"https://ollama.com/%2e%2e/x", false, ""},
		{"https://ollama.com/%00", false, ""},
		{"https://ollama%2ecom", false, ""},
		{"https://ollama.com/../x", false, ""},
		{"https://ollama.com/./x", false, ""},
		{"https://ollama.com//x", false, ""},
		{"https://ollama.com/x//", false, ""},
		{"https://ollama.com/a b", false, ""},
		{" https://ollama.com", false, ""},
		{"https://ollama.com\n", false, ""},
		{"https://olla\tma.com", false, ""},
		{"https://ollama.com/\x7f", false, ""},
		{"https://\x00", false, ""},
		{"https://öllama.com", false, ""},
		{"https://ollama.com/ü", false, ""},
		{"https://ollama。com", false, ""},
		{"https://ⓞllama.com", false, ""},
		{"https://ollama.com:", false, ""},
		{"https://ollama.com:0", false, ""},
		{"https://ollama.com:65536", false, ""},
		{"https://ollama.com:0443", false, ""},
		{"https://ollama.com:-1", false, ""},
		{"https://ollama.com:443:80", false, ""},
		{"https://ollama.com:x", false, ""},
		{"https://ollama.com.", false, ""},
		{"https://.ollama.com", false, ""},
		{"https://ollama..com", false, ""},
		{"https://-x.example", false, ""},
		{"https://x-.example", false, ""},
		{"https://" + strings.Repeat("a", 64) + ".example", false, ""},
		{"https://" + strings.Repeat("a.", 130) + "b", false, ""},
		{"https://127.1", true, ""},
		{"https://2130706433", true, ""},
		{"https://0x7f000001", true, ""},
		{"https://0x7f.1", true, ""},
		{"https://0177.0.0.1", true, ""},
		{"https://1.2.3.4.5", true, ""},
		{"https://example.0x", true, ""},
		{"https://256.1.1.1", true, ""},
		{"https://[fe80::1%25eth0]", true, ""},
		{"https://[::ffff:127.0.0.1]", true, ""},
		{"https://[::1", true, ""},
		{"https://::1", true, ""},
		{"https://127.0.0.1", false, ""},
		{"https://localhost", false, ""},
		{"https://LOCALHOST", false, ""},
		{"https://a.localhost", false, ""},
		{"https://10.0.0.5", false, ""},
		{"https://192.168.1.1", false, ""},
		{"https://172.16.0.1", false, ""},
		{"https://169.254.169.254", false, ""},
		{"https://[::1]", false, ""},
		{"https://[fd00::1]", false, ""},
		{"https://[fe80::1]", false, ""},
		{"https://0.0.0.0", false, ""},
		{"https://[::]", false, ""},
		{"https://224.0.0.1", false, ""},
		{"https://255.255.255.255", false, ""},
	} {
		got, refused := parseBaseURL(row.raw, row.private)
		if got != row.want || (refused == nil) != (row.want != "") {
			t.Errorf("%q (private %v): got %q, %v; want %q", row.raw, row.private, got, refused, row.want)
		}
		if refused != nil && refused.field != "baseUrl" {
			t.Errorf("%q: the refusal names %q", row.raw, refused.field)
		}
		if again, _ := parseBaseURL(got, row.private); row.want != "" && again != got {
			t.Errorf("%q: read again it is %q", got, again)
		}
	}
}
