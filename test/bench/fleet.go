package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"ollama-api-pool/test/bench/upstream"
)

// fleet is a control plane with its keys and one client token, and room for one data plane: real binaries with real folders,
// set up over the admin API as an operator would.
type fleet struct {
	env   *bench
	keys  int
	dir   string
	token string // a client's

	adminToken, joinToken string
	node, admin, api, ops string // addresses
	control               *process
}

// openFleet starts a control plane and fills it.
func openFleet(ctx context.Context, b *bench, keys int) (*fleet, error) {
	f := &fleet{
		env: b, keys: keys, dir: filepath.Join(b.dir, "keys-"+strconv.Itoa(keys)),
		adminToken: rand.Text() + rand.Text(), joinToken: rand.Text() + rand.Text(),
	}
	for _, addr := range []*string{&f.node, &f.admin, &f.api, &f.ops} {
		var err error
		if *addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	var err error
	f.control, err = program{
		name: "controlplane-" + strconv.Itoa(keys), core: b.cores.rest, dir: b.dir,
		args: []string{
			filepath.Join(b.bin, "controlplane"), "serve", "--data-dir", filepath.Join(f.dir, "controlplane"),
			"--node-listen", f.node, "--admin-listen", f.admin,
		},
		env: []string{"APIPOOL_ADMIN_TOKEN=" + f.adminToken, "APIPOOL_JOIN_TOKEN=" + f.joinToken},
	}.start()
	if err != nil {
		return nil, err
	}
	if err := f.fill(ctx); err != nil {
		f.control.stop()
		return nil, err
	}
	return f, nil
}

func (f *fleet) fill(ctx context.Context) error {
	if err := f.control.up(ctx, "http://"+f.admin+"/readyz"); err != nil {
		return err
	}
	err := f.call(ctx, http.MethodPatch, "/admin/providers/ollama", object{
		"baseUrl": "http://" + f.env.upstream, "allowPrivateAddresses": true,
	}, nil)
	if err != nil {
		return err
	}
	var made struct{ Token string }
	if err := f.call(ctx, http.MethodPost, "/admin/tokens", object{"name": "bench"}, &made); err != nil {
		return err
	}
	f.token = made.Token
	return f.importKeys(ctx)
}

const atOnce = 5000 // keys that one import takes

func (f *fleet) importKeys(ctx context.Context) error {
	for from := 0; from < f.keys; from += atOnce {
		list := make([]string, min(atOnce, f.keys-from))
		for i := range list {
			list[i] = fmt.Sprintf("%s%08d-%s", upstream.Key, from+i, rand.Text())
		}
		var job struct{ Counts map[string]int }
		if err := f.call(ctx, http.MethodPost, "/admin/api-keys/import", object{"keys": list}, &job); err != nil {
			return err
		}
		if job.Counts["added"] != len(list) {
			return fmt.Errorf("of %d keys these were imported: %v", len(list), job.Counts)
		}
	}
	return nil
}

type object map[string]any

// call fails unless the answer is a 200.
func (f *fleet) call(ctx context.Context, method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+f.admin+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+f.adminToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// serve starts the data plane, which joins at the first time and keeps its identity for the next.
func (f *fleet) serve() (*process, error) {
	return program{
		name: "dataplane-" + strconv.Itoa(f.keys), core: f.env.cores.proxy, dir: f.env.dir,
		args: []string{
			filepath.Join(f.env.bin, "dataplane"), "--data-dir", filepath.Join(f.dir, "dataplane"), "--node-id", "bench",
			"--control-plane", f.node, "--listen", f.api, "--ops-listen", f.ops,
		},
		env: []string{"APIPOOL_JOIN_TOKEN=" + f.joinToken},
	}.start()
}

// leased waits until the data plane holds every key.
func (f *fleet) leased(ctx context.Context, p *process) error {
	want := []byte("\napipool_leases " + strconv.FormatFloat(float64(f.keys), 'g', -1, 64) + "\n")
	if err := p.up(ctx, "http://"+f.ops+"/readyz"); err != nil {
		return err
	}
	return p.poll(ctx, func() bool {
		text, err := fetch(ctx, "http://"+f.ops+"/metrics")
		return err == nil && bytes.Contains(text, want)
	})
}
