package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	callTimeout = 90 * time.Second // longer than any wait for nodes
	maxAnswer   = 256 << 20
)

// client calls the REST API.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
}

func (o *options) client(c *cobra.Command) (*client, error) {
	base, err := o.base()
	if err != nil {
		return nil, err
	}
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	if base.Scheme == "http" && !isLoopback(base.Hostname()) {
		warn(c, "the admin token goes over the network unencrypted: use https://")
	}
	return &client{base: base, token: token, http: &http.Client{
		Timeout:       callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this host only
	}}, nil
}

// patient is the client for calls that take as long as their work does; only an interruption ends them.
func (c *client) patient() *client {
	p, h := *c, *c.http
	h.Timeout, p.http = 0, &h
	return &p
}

// call is the one way to ask the control plane: in goes as JSON (nil: no body), the answer comes into out.
func (c *client) call(ctx context.Context, method, path string, query url.Values, in, out proto.Message) error {
	var body io.Reader
	if in != nil {
		data, err := protojson.Marshal(in)
		if err != nil {
			return errors.New("a text is not UTF-8") // the error itself would quote it
		}
		body = bytes.NewReader(data)
	}
	at := *c.base
	at.Path, at.RawQuery = path, query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(r)
	if err != nil {
		return unreachable(ctx, c.base, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return unreachable(ctx, c.base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return refused(resp, data)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, out); err != nil {
		return failed(exitFailed, "%s does not answer like a control plane", c.base)
	}
	return nil
}

// begin answers the client and whether to print JSON.
func (o *options) begin(c *cobra.Command) (api *client, asJSON bool, err error) {
	if asJSON, err = o.json(); err != nil {
		return nil, false, err
	}
	api, err = o.client(c)
	return api, asJSON, err
}

// ask makes one call and prints the answer: as JSON, or with show.
func (o *options) ask(c *cobra.Command, method, path string, query url.Values, in, out proto.Message, show func() error) error {
	api, asJSON, err := o.begin(c)
	if err != nil {
		return err
	}
	if err := api.call(c.Context(), method, path, query, in, out); err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), out)
	}
	return show()
}

// page is one page of a list.
type page interface {
	proto.Message
	GetNextPageToken() string
}

// pages hands all pages of a list to take, one after another, each in a message that fresh makes.
func pages[P page](ctx context.Context, api *client, path string, query url.Values, fresh func() P, take func(P)) error {
	query.Set("pageSize", "1000")
	for {
		p := fresh()
		if err := api.call(ctx, http.MethodGet, path, query, nil, p); err != nil {
			return err
		}
		take(p)
		if p.GetNextPageToken() == "" {
			return nil
		}
		query.Set("pageToken", p.GetNextPageToken())
	}
}

func unreachable(ctx context.Context, base *url.URL, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // without the URL, which is told already
	}
	return failed(exitUnreachable, "the control plane at %s cannot be reached: %v", base, err)
}

// refused makes an error of an answer: its message, and the id under which the control plane's log has it.
func refused(resp *http.Response, data []byte) error {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(data, &status) != nil || status.Message == "" {
		status.Message = "the control plane answered " + resp.Status
	}
	id := ""
	if v := resp.Header.Get("X-Request-Id"); v != "" {
		id = fmt.Sprintf(" (request id %s)", v)
	}
	return failed(exitOf(resp.StatusCode), "%s%s", status.Message, id)
}
