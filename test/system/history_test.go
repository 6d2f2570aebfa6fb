package system

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// What happened with a key is told by who met it, and outlives the control plane.
func TestAKeysHistory(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		id := c.addKey(secret(0), fakellm.Behaviour{Script: []fakellm.Behaviour{{Status: 429, RetryAfter: "60"}, {}, {Status: 401}}})
		c.addKey(secret(1), fakellm.Behaviour{})
		token := c.addToken("first")
		for n := range 4 {
			c.chat("eu-1", token, fmt.Sprint("r", n), false)
		}
		time.Sleep(2 * time.Minute)
		for n := range 4 {
			c.chat("us-1", token, fmt.Sprint("s", n), false)
		}
		c.settle()
		c.stopControl()
		c.startControl()
		var history struct {
			Events []struct {
				Kind, Status, Reason, Node string
				HTTPStatus                 int `json:"httpStatus"`
			}
			Hours []struct{ Total float64 }
		}
		c.admin("GET", "/admin/api-keys/"+id+"/history", "", &history)
		var told []string
		for _, e := range history.Events {
			told = append(told, strings.Join(strings.Fields(fmt.Sprint(e.Kind, " ", e.Status, " ", e.Reason, " ", e.Node, " ", e.HTTPStatus)), " "))
		}
		want := "status auto_disabled auth_rejected 0, probe auth_rejected eu-1 401, status suspect auth_rejected 0, " +
			"failure auth_rejected us-1 401, status active 0, probe recovered us-1 400, status cooling rate_limited 0, failure rate_limited eu-1 429"
		got := strings.Replace(strings.Join(told, ", "), "probe recovered eu-1", "probe recovered us-1", 1) // either may be asked
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if len(history.Hours) != 1 || history.Hours[0].Total != 2 {
			t.Errorf("hours are %v", history.Hours)
		}
	})
}
