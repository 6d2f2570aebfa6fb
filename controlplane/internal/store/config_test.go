package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// quiet are options for a directory, without log.
func quiet(dir string) Options {
	return Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)}
}

// initConfig answers a fresh data directory.
func initConfig(t *testing.T) Options {
	t.Helper()
	o := quiet(filepath.Join(t.TempDir(), "data"))
	if err := Init(o); err != nil {
		t.Fatal(err)
	}
	return o
}

// openConfig opens a store that the test closes at its end.
func openConfig(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// reopen closes the store and answers it as a new process would see it, after a check of everything.
func reopen(t *testing.T, o Options, s *Store) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openConfig(t, o)
	if err := again.View(func(tx *Tx) error { return again.checkAll(tx.bolt) }); err != nil {
		t.Fatal(err)
	}
	return again
}

func update(t *testing.T, s *Store, fn func(tx *Tx) error) uint64 {
	t.Helper()
	revision, err := s.Update(t.Context(), fn)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func view(t *testing.T, s *Store, fn func(tx *Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

func aKey(n int) pool.Key {
	secret := fmt.Sprintf("sk-CANARY-key-%08d", n)
	return pool.Key{Provider: "ollama", Secret: pool.NewSecret(secret), Display: pool.Display(secret), Label: fmt.Sprint(n), Weight: 1}
}

func aToken(n int) pool.Token {
	return pool.Token{Hash: sha256.Sum256(fmt.Appendf(nil, "sk-pool-CANARY-%d", n)), Name: fmt.Sprint(n)}
}

// plain makes keys comparable: it moves the secret out.
type plain struct {
	key    pool.Key
	secret string
}

func plainKey(k pool.Key) plain {
	secret := k.Secret.Reveal()
	k.Secret = pool.Secret{}
	return plain{k, secret}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestEverythingComesBackAfterARestart(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	when := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.FixedZone("east", 3600))
	key := pool.Key{
		Provider: "openrouter", Secret: pool.NewSecret("sk-CANARY-1"), Display: "sk-C…RY-1", Label: "label é", Models: []string{"a*", "b"},
		Weight: 100, Priority: 7, Regions: []string{"eu-west"}, CreateTime: when, ExpireTime: when.Add(time.Hour),
		Disabled: true, DisabledUntil: when.Add(time.Minute), Note: "note", Generation: 5,
	}
	token := pool.Token{
		Hash: sha256.Sum256([]byte("t")), Display: "sk-p…zzzz", Name: "n", Provider: "ollama", Models: []string{"m"},
		CreateTime: when, ExpireTime: when.Add(time.Hour),
		AllowedCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")},
		Limits:       pool.Limits{RequestsPerMinute: 60, TokensPerMinute: 1_000_000_000, MaxConcurrent: 4},
		Tenant:       "team é", Cache: new(false),
	}
	provider := pool.Provider{
		ID: "mine", BaseURL: "http://127.0.0.1:1", AllowPrivateAddresses: true, Headers: map[string]string{"x": "y"}, CreateTime: when,
		ModelAliases: map[string]string{"gpt-4o": "gpt-oss:120b"}, Affinity: pool.AffinityPrompt, Patience: 0, CacheTTL: time.Hour,
	}.WithDefaults()
	node := pool.NodeRecord{
		ID: "eu-1", Region: "eu-west", Epoch: 3, InstanceID: []byte{1}, CertificateSerial: []byte{2},
		JoinTime: when.UTC(), LeaveTime: when.UTC(),
	}
	join := JoinToken{Secret: pool.NewSecret("jt-CANARY"), Region: "eu-west", ExpireTime: when}
	admin := Admin{Name: "root", Hash: sha256.Sum256([]byte("a")), Role: "admin", CreateTime: when.UTC()}

	givenToken, givenProvider := token, provider
	update(t, s, func(tx *Tx) (err error) {
		key, err = tx.PutKey(key)
		if err != nil {
			return err
		}
		if token, err = tx.PutToken(token); err != nil {
			return err
		}
		if provider, err = tx.PutProvider(provider); err != nil {
			return err
		}
		if join, err = tx.PutJoinToken(join); err != nil {
			return err
		}
		return errors.Join(tx.PutNode(node), tx.PutAdmin(admin), tx.PutSealed("ca", pool.NewSecret("CANARY-ca")))
	})
	if key.ID == 0 || token.ID == 0 || join.ID == 0 {
		t.Error("an id was not given")
	}
	same(t, "revisions", []uint64{key.Revision, token.Revision, provider.Revision, s.Revision()}, []uint64{3, 4, 5, 6})
	givenToken.ID, givenToken.Revision, givenProvider.Revision = token.ID, token.Revision, provider.Revision
	givenToken.CreateTime, givenToken.ExpireTime, givenProvider.CreateTime = when.UTC(), when.Add(time.Hour).UTC(), when.UTC()
	same(t, "token as given", token, givenToken)
	same(t, "provider as given", provider, givenProvider)
	if !key.CreateTime.Equal(when) || key.Generation != 5 {
		t.Errorf("what was given was changed: %+v", key)
	}

	s = reopen(t, o, s)
	view(t, s, func(tx *Tx) error {
		gotKey, err := tx.Key(key.ID)
		same(t, "key", plainKey(gotKey), plainKey(key))
		gotToken, err2 := tx.Token(token.ID)
		same(t, "token", gotToken, token)
		gotProvider, err3 := tx.Provider("mine")
		same(t, "provider", gotProvider, provider)
		gotNode, err4 := tx.Node("eu-1")
		same(t, "node", gotNode, node)
		gotAdmin, err5 := tx.Admin("root")
		same(t, "admin", gotAdmin, admin)
		ca, err6 := tx.Sealed("ca")
		same(t, "sealed", ca.Reveal(), "CANARY-ca")
		for got, err := range tx.JoinTokens() {
			same(t, "join token", []any{got.ID, got.Secret.Reveal(), got.Region, got.ExpireTime, err},
				[]any{join.ID, "jt-CANARY", "eu-west", when.UTC(), nil})
		}
		if id, ok := tx.KeyBySecret(pool.NewSecret("sk-CANARY-1")); !ok || id != key.ID {
			t.Errorf("by secret: %v, %v", id, ok)
		}
		if _, ok := tx.KeyBySecret(pool.NewSecret("sk-CANARY-2")); ok {
			t.Error("a secret that nobody has was found")
		}
		if id, ok := tx.TokenByHash(token.Hash); !ok || id != token.ID {
			t.Errorf("by hash: %v, %v", id, ok)
		}
		if got, ok := tx.AdminByHash(admin.Hash); !ok || got.Name != "root" {
			t.Errorf("admin by hash: %v, %v", got, ok)
		}
		same(t, "keys of a provider", []int{tx.CountKeys("openrouter"), tx.CountKeys("ollama")}, []int{1, 0})
		return errors.Join(err, err2, err3, err4, err5, err6)
	})
}

func TestFirstStartHasTheProvidersThatEveryoneHas(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	var ids []pool.ProviderID
	view(t, s, func(tx *Tx) error {
		for p, err := range tx.Providers() {
			if err != nil || p.Revision == 0 || p.CreateTime.IsZero() {
				t.Errorf("%+v, %v", p, err)
			}
			ids = append(ids, p.ID)
		}
		return nil
	})
	same(t, "providers", ids, []pool.ProviderID{"ollama", "openrouter"})
	same(t, "revision", s.Revision(), uint64(2))
	if s.ClusterID() == "" || s.Lineage() == [16]byte{} {
		t.Error("the pool has no name")
	}
	again := reopen(t, o, s)
	if again.ClusterID() != s.ClusterID() || again.Lineage() != s.Lineage() {
		t.Error("the pool's name changed over a restart")
	}
}

func TestTermRisesWithEachOpen(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	for want := uint64(1); want <= 3; want++ {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "term", s.Term(), want)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	var key pool.Key
	var token pool.Token
	update(t, s, func(tx *Tx) (err error) {
		if key, err = tx.PutKey(aKey(1)); err != nil {
			return err
		}
		if token, err = tx.PutToken(aToken(1)); err != nil {
			return err
		}
		return tx.PutAdmin(Admin{Name: "root", Hash: sha256.Sum256([]byte("a"))})
	})
	moved := key
	moved.Provider = "openrouter"
	for _, c := range []struct {
		name string
		fn   func(tx *Tx) error
		want error
	}{
		{"a second key with the secret", func(tx *Tx) error { _, err := tx.PutKey(aKey(1)); return err }, ErrExists},
		{"a second token with the hash", func(tx *Tx) error { _, err := tx.PutToken(aToken(1)); return err }, ErrExists},
		{"a second admin with the token", func(tx *Tx) error { return tx.PutAdmin(Admin{Name: "b", Hash: sha256.Sum256([]byte("a"))}) }, ErrExists},
		{"a key's other provider", func(tx *Tx) error { _, err := tx.PutKey(moved); return err }, ErrOtherProvider},
		{"a key without secret", func(tx *Tx) error { _, err := tx.PutKey(pool.Key{Provider: "ollama"}); return err }, errNoSecret},
		{"a provider without name", func(tx *Tx) error { _, err := tx.PutProvider(pool.Provider{}); return err }, errNoName},
		{"a node without name", func(tx *Tx) error { return tx.PutNode(pool.NodeRecord{}) }, errNoName},
		{"no such key", func(tx *Tx) error { _, err := tx.Key(1); return err }, ErrNotFound},
		{"no such key to delete", func(tx *Tx) error { return tx.DeleteKey(1, false) }, ErrNotFound},
		{"no such token", func(tx *Tx) error { _, err := tx.Token(1); return err }, ErrNotFound},
		{"no such token to delete", func(tx *Tx) error { return tx.DeleteToken(1) }, ErrNotFound},
		{"no such provider", func(tx *Tx) error { _, err := tx.Provider("p"); return err }, ErrNotFound},
		{"no such provider to delete", func(tx *Tx) error { return tx.DeleteProvider("p") }, ErrNotFound},
		{"no such node", func(tx *Tx) error { _, err := tx.Node("n"); return err }, ErrNotFound},
		{"no such admin", func(tx *Tx) error { _, err := tx.Admin("n"); return err }, ErrNotFound},
		{"no such join token", func(tx *Tx) error { return tx.DeleteJoinToken(1) }, ErrNotFound},
		{"no such sealed value", func(tx *Tx) error { _, err := tx.Sealed("n"); return err }, ErrNotFound},
	} {
		if _, err := s.Update(t.Context(), c.fn); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	err := s.View(func(tx *Tx) error { _, err := tx.PutKey(aKey(2)); return err })
	if !errors.Is(err, ErrReadOnly) {
		t.Errorf("a put in a view: %v, want ErrReadOnly", err)
	}

	// A secret and a hash that were given up may be given again.
	other := aKey(1)
	update(t, s, func(tx *Tx) error {
		key.Secret, token.Hash = pool.NewSecret("sk-CANARY-other"), sha256.Sum256([]byte("other"))
		_, err := tx.PutKey(key)
		_, err2 := tx.PutToken(token)
		_, err3 := tx.PutKey(other)
		_, err4 := tx.PutToken(aToken(1))
		return errors.Join(err, err2, err3, err4)
	})
	reopen(t, o, s)
}

func TestOneFunctionSeesItsOwnWrites(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	revision := update(t, s, func(tx *Tx) error {
		var ids []pool.KeyID
		for n := range 5 {
			k, err := tx.PutKey(aKey(n))
			if err != nil {
				return err
			}
			ids = append(ids, k.ID)
			if got, err := tx.Key(k.ID); err != nil || got.Secret.Reveal() != k.Secret.Reveal() {
				t.Errorf("own key: %v, %v", got, err)
			}
		}
		if err := tx.DeleteKey(ids[2], false); err != nil {
			return err
		}
		if _, err := tx.Key(ids[2]); !errors.Is(err, ErrNotFound) {
			t.Errorf("deleted key: %v", err)
		}
		if _, ok := tx.KeyBySecret(aKey(2).Secret); ok {
			t.Error("a deleted key is found by its secret")
		}
		same(t, "count", tx.CountKeys("ollama"), 4)
		seen := 0
		for k, err := range tx.Keys() {
			if err != nil {
				return err
			}
			seen++
			if err := tx.DeleteKey(k.ID, false); err != nil { // while ranging
				return err
			}
		}
		same(t, "ranged over", seen, 4)
		same(t, "count", tx.CountKeys("ollama"), 0)
		return nil
	})
	same(t, "revision", revision, uint64(2+5+1+4))
	reopen(t, o, s)
}

func TestChangesArePutDownInOrderAndTrimmed(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	s.keepChanges = 10
	var told []uint64
	s.OnCommit(func(changes []pool.Change) {
		for _, c := range changes {
			told = append(told, c.Revision)
		}
	})
	for n := range 15 {
		update(t, s, func(tx *Tx) error {
			k, err := tx.PutKey(aKey(n))
			if err != nil {
				return err
			}
			if n%2 == 0 {
				return tx.DeleteKey(k.ID, false)
			}
			return tx.PutAdmin(Admin{Name: "root"}) // takes no revision
		})
	}
	var want []uint64
	for r := uint64(3); r <= s.Revision(); r++ {
		want = append(want, r)
	}
	same(t, "told", told, want)
	s = reopen(t, o, s)
	var kept []uint64
	view(t, s, func(tx *Tx) error {
		for key, value := range tx.scan(bucketChanges) {
			kept = append(kept, parseNumber([]byte(key)))
			if value[0] != recordFormat || value[1] != kindKey || len(value) != 3+8 {
				t.Errorf("change %x", value)
			}
		}
		return nil
	})
	same(t, "kept", kept, want[len(want)-10:])
}

func TestChangeTellsWhatChanged(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	var got []pool.Change
	s.OnCommit(func(changes []pool.Change) { got = append(got, changes...) })
	var key pool.Key
	var token pool.Token
	update(t, s, func(tx *Tx) (err error) {
		if key, err = tx.PutKey(aKey(1)); err != nil {
			return err
		}
		token, err = tx.PutToken(aToken(1))
		return errors.Join(err, tx.PutNode(pool.NodeRecord{ID: "n"}), tx.DeleteKey(key.ID, false), tx.DeleteToken(token.ID), tx.DeleteProvider("ollama"))
	})
	if len(got) != 6 {
		t.Fatalf("%d changes, want 6", len(got))
	}
	same(t, "key", plainKey(*got[0].Key), plainKey(key))
	same(t, "token", *got[1].Token, token)
	same(t, "node", *got[2].Node, pool.NodeRecord{ID: "n"})
	same(t, "removals", got[3:], []pool.Change{
		{Revision: 6, RemovedKey: key.ID}, {Revision: 7, RemovedToken: token.ID}, {Revision: 8, RemovedProvider: "ollama"},
	})
	reopen(t, o, s)
}

// The file of a pool in use is searched for everything that must not be in it.
func TestNoSecretIsInTheFiles(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	for n := range 50 {
		update(t, s, func(tx *Tx) error {
			k, err := tx.PutKey(aKey(n))
			k.Secret = pool.NewSecret("second-CANARY-" + fmt.Sprint(n))
			_, err2 := tx.PutKey(k)
			_, err3 := tx.PutToken(aToken(n))
			_, err4 := tx.PutJoinToken(JoinToken{Secret: pool.NewSecret("join-CANARY-" + fmt.Sprint(n))})
			return errors.Join(err, err2, err3, err4, tx.PutSealed("ca", pool.NewSecret("ca-CANARY")))
		})
	}
	reopen(t, o, s)
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(o.Dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, []byte("CANARY")); i >= 0 {
			t.Errorf("%s holds %q", e.Name(), b[max(0, i-10):i+20])
		}
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", e.Name(), info.Mode(), err)
		}
	}
}
