package cli

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// receiptWait is how long a command waits for the nodes to confirm what it has done.
type receiptWait time.Duration

func (w *receiptWait) add(c *cobra.Command) {
	c.Flags().DurationVar((*time.Duration)(w), "wait", 10*time.Second, "how long to wait for the nodes, at most 60s")
}

func (w receiptWait) query() url.Values {
	return url.Values{"wait": {strconv.FormatFloat(time.Duration(w).Seconds(), 'f', -1, 64)}}
}

// tellReceipt says where what was done has arrived. It is done in any case; the error only tells that some nodes may not
// know yet.
func tellReceipt(c *cobra.Command, done string, r *adminv1.RevocationReceipt) error {
	if len(r.GetAcknowledged()) > 0 {
		warn(c, "confirmed by %s", strings.Join(r.GetAcknowledged(), ", "))
	}
	if len(r.GetPending()) > 0 {
		warn(c, "connected, but not confirmed yet: %s", strings.Join(r.GetPending(), ", "))
	}
	for _, u := range r.GetUnreachable() {
		warn(c, "out of reach: %s stops by %s at the latest", u.GetNode(), when(u.GetStopsBy()))
	}
	if len(r.GetPending())+len(r.GetUnreachable()) > 0 {
		return failed(exitPartly, "%s, but not every node has confirmed it", done)
	}
	return nil
}
