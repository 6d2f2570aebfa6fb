package store

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/seal"
)

// usedConfig answers a directory with a database of 100 keys, closed in order or as after a crash.
func usedConfig(t *testing.T, crashed bool) Options {
	t.Helper()
	o := initConfig(t)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		for n := range 100 {
			if _, err := tx.PutKey(aKey(n)); err != nil {
				return err
			}
			if _, err := tx.PutToken(aToken(n)); err != nil {
				return err
			}
		}
		_, err := tx.PutJoinToken(JoinToken{Secret: pool.NewSecret("join-CANARY")})
		return errors.Join(err, tx.PutNode(pool.NodeRecord{ID: "n"}), tx.PutAdmin(Admin{Name: "root"}), tx.PutSealed("ca", pool.NewSecret("ca-CANARY")))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if crashed {
		for range 2 { // in both of bbolt's last two states: without the newer one, it takes the older
			meta(t, o, metaClosed, nil)
		}
	}
	return o
}

// edit changes the database behind the store's back.
func edit(t *testing.T, o Options, fn func(b *bbolt.Tx) error) {
	t.Helper()
	db, err := openBolt(o.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// files answers everything in the directory.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			found[e.Name()] = "a directory"
			continue
		}
		found[e.Name()] = string(read(t, path))
	}
	return found
}

func meta(t *testing.T, o Options, name string, value []byte) {
	t.Helper()
	edit(t, o, func(b *bbolt.Tx) error { return put(b.Bucket([]byte(bucketMeta)), []byte(name), value) })
}

func TestRefusedOpeningsChangeNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, o Options)
		want  error
		says  string
	}{
		{"no database", func(t *testing.T, o Options) { _ = os.Remove(o.config()) }, ErrMissing, "config.db"},
		{"an empty file", func(t *testing.T, o Options) { write(t, o.config(), nil) }, ErrDamaged, "the file is empty"},
		{"half of the file", func(t *testing.T, o Options) { b := read(t, o.config()); write(t, o.config(), b[:30<<10]) }, ErrDamaged, "truncated"},
		{"a page and a half", func(t *testing.T, o Options) { b := read(t, o.config()); write(t, o.config(), b[:6<<10]) }, ErrDamaged, ""},
		{"a few bytes", func(t *testing.T, o Options) { write(t, o.config(), []byte("bolt")) }, ErrDamaged, ""},
		{"garbage", func(t *testing.T, o Options) { write(t, o.config(), bytes.Repeat([]byte("garbage!"), 8<<10)) }, ErrDamaged, ""},
		{"zeros", func(t *testing.T, o Options) { write(t, o.config(), make([]byte, 64<<10)) }, ErrDamaged, ""},
		{"garbage behind the head", func(t *testing.T, o Options) {
			b := read(t, o.config())
			write(t, o.config(), append(b[:8<<10], bytes.Repeat([]byte{0xa5}, len(b)-8<<10)...))
		}, ErrDamaged, "page"},
		{"a directory in its place", func(t *testing.T, o Options) {
			_ = os.Remove(o.config())
			if err := os.Symlink(t.TempDir(), o.config()); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, "not a regular file"},
		{"a database of something else", func(t *testing.T, o Options) {
			_ = os.Remove(o.config())
			if err := createBolt(o.config(), func(b *bbolt.Tx) error { _, err := b.CreateBucket([]byte("other")); return err }); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, "not a configuration database"},
		{"a newer schema", func(t *testing.T, o Options) { meta(t, o, metaSchema, number(2)) }, ErrNewerSchema, "schema 2"},
		{"no schema", func(t *testing.T, o Options) { meta(t, o, metaSchema, nil) }, ErrDamaged, "schema"},
		{"no cluster id", func(t *testing.T, o Options) { meta(t, o, metaClusterID, nil) }, ErrDamaged, "cluster"},
		{"no keyset", func(t *testing.T, o Options) { meta(t, o, metaKeyset, nil) }, ErrDamaged, "keyset"},
		{"no bucket of keys", func(t *testing.T, o Options) {
			edit(t, o, func(b *bbolt.Tx) error { return b.DeleteBucket([]byte(bucketKeys)) })
		}, ErrDamaged, "bucket keys"},
		{"another pool's anchor", func(t *testing.T, o Options) { write(t, o.anchor(), newLife().anchor()) }, ErrDamaged, "anchor"},
		{"no KEK", func(t *testing.T, o Options) { _ = os.Remove(filepath.Join(o.Dir, kekFile)) }, seal.ErrMissingKEK, "KEK"},
		{"another KEK", func(t *testing.T, o Options) {
			kek := filepath.Join(o.Dir, kekFile)
			_ = os.Remove(kek)
			if err := seal.NewKEK(kek); err != nil {
				t.Fatal(err)
			}
		}, ErrWrongKEK, "KEK"},
		{"a KEK that others can read", func(t *testing.T, o Options) {
			if err := os.Chmod(filepath.Join(o.Dir, kekFile), 0o644); err != nil {
				t.Fatal(err)
			}
		}, seal.ErrOpenKEK, "0644"},
		{"in use", func(t *testing.T, o Options) { openConfig(t, o) }, ErrLocked, "in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := usedConfig(t, false)
			c.spoil(t, o)
			refused(t, o, c.want, c.says)
		})
	}
}

func refused(t *testing.T, o Options, want error, says string) {
	t.Helper()
	before := files(t, o.Dir)
	s, err := Open(o)
	if err == nil {
		t.Fatal("it was opened", s.Close())
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v; want %v, saying %q", err, want, says)
	}
	if strings.Contains(err.Error(), "CANARY") {
		t.Errorf("%v shows a secret", err)
	}
	for name, b := range files(t, o.Dir) {
		if b != before[name] {
			t.Errorf("%s was changed or made", name)
		}
	}
}

// After a crash everything is read, so that what no request has met yet is found too.
func TestDamageFoundAfterACrash(t *testing.T) {
	t.Parallel()
	first := func(b *bbolt.Bucket) (k, v []byte) {
		k, v = b.Cursor().First()
		return bytes.Clone(k), bytes.Clone(v)
	}
	flip := func(bucket string) func(b *bbolt.Tx) error {
		return func(b *bbolt.Tx) error {
			k, v := first(b.Bucket([]byte(bucket)))
			v[len(v)/2] ^= 1
			return b.Bucket([]byte(bucket)).Put(k, v)
		}
	}
	swap := func(bucket string) func(b *bbolt.Tx) error {
		return func(b *bbolt.Tx) error {
			c := b.Bucket([]byte(bucket)).Cursor()
			k1, v1 := c.First()
			k2, v2 := c.Next()
			k1, v1, k2, v2 = bytes.Clone(k1), bytes.Clone(v1), bytes.Clone(k2), bytes.Clone(v2)
			return errors.Join(c.Bucket().Put(k1, v2), c.Bucket().Put(k2, v1))
		}
	}
	drop := func(bucket string) func(b *bbolt.Tx) error {
		return func(b *bbolt.Tx) error {
			k, _ := first(b.Bucket([]byte(bucket)))
			return b.Bucket([]byte(bucket)).Delete(k)
		}
	}
	for _, c := range []struct {
		name string
		fn   func(b *bbolt.Tx) error
		says string
	}{
		{"a flipped bit in a sealed secret", flip(bucketKeys), "k"},
		{"two keys swapped", swap(bucketKeys), "key k_"},
		{"two tokens swapped", swap(bucketTokens), "token t_"},
		{"two providers swapped", swap(bucketProviders), "provider ollama"},
		{"a key gone", drop(bucketKeys), "gone"},
		{"a fingerprint gone", drop(bucketKeysByFP), "not found by its secret"},
		{"a token gone", drop(bucketTokens), "gone"},
		{"a digest gone", drop(bucketTokensByHash), "not found by its digest"},
		{"two digests swapped", swap(bucketTokensByHash), "not found by its digest"},
		{"a count gone", drop(bucketKeyCounts), "counted"},
		{"a sealed join token", flip(bucketJoinTokens), "join"},
		{"a format of the future", func(b *bbolt.Tx) error {
			return b.Bucket([]byte(bucketNodes)).Put([]byte("n"), []byte{2, 1, 1})
		}, "node n has an unknown format"},
		{"a record that is none", func(b *bbolt.Tx) error {
			return b.Bucket([]byte(bucketAdmins)).Put([]byte("root"), []byte{1, 0xff, 0xff})
		}, "admin root"},
		{"a sealed value", func(b *bbolt.Tx) error {
			return b.Bucket([]byte(bucketMeta)).Put([]byte(metaSealed+"ca"), []byte{1, 2, 3})
		}, "sealed_value ca"},
		{"a revision that went back", func(b *bbolt.Tx) error {
			return b.Bucket([]byte(bucketMeta)).Put([]byte(metaRevision), number(5))
		}, "the newest is 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := usedConfig(t, true)
			edit(t, o, c.fn)
			refused(t, o, ErrDamaged, c.says)
		})
	}
}

// Whatever bits flip, opening refuses with an error or gives every secret back: no panic, no loss of process, no wrong
// secret.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	o := usedConfig(t, true)
	good := read(t, o.config())[:usedSize(t, o)]
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	refusals := 0
	for range 400 {
		bad := bytes.Clone(good)
		for range 1 + random.IntN(3) {
			bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
		}
		write(t, o.config(), bad)
		s, err := Open(o)
		if err != nil {
			refusals++
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKEK) && !errors.Is(err, ErrNewerSchema) {
				t.Fatalf("%v", err)
			}
			if !bytes.Equal(read(t, o.config()), bad) {
				t.Fatalf("refused (%v), but changed", err)
			}
			continue
		}
		view(t, s, func(tx *Tx) error {
			n := 0
			for k, err := range tx.Keys() {
				if err != nil || k.Secret.Reveal()[:14] != "sk-CANARY-key-" {
					t.Errorf("%v, %v", k, err)
				}
				n++
			}
			same(t, "keys", n, 100)
			return nil
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 400 were refused; the others are in free pages, labels and the like", refusals)
	if refusals < 40 {
		t.Errorf("only %d of 400 were refused", refusals)
	}
}

// usedSize answers how much of the file is in use; it grows ahead of that.
func usedSize(t *testing.T, o Options) (n int64) {
	t.Helper()
	db, err := openBolt(o.config())
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(b *bbolt.Tx) error { n = b.Size(); return nil })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestInitialised(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files map[string]string // empty: no directory
		there bool
		err   error
	}{
		{"no directory", nil, false, nil},
		{"only what others leave there", map[string]string{"lost+found": "", ".keep": "", "join-token": "x"}, false, nil},
		{"a database", map[string]string{"config.db": "something", "kek": "x"}, true, nil},
		{"an empty database", map[string]string{"config.db": ""}, false, ErrTraces},
		{"a KEK", map[string]string{"kek": "x"}, false, ErrTraces},
		{"an anchor", map[string]string{"anchor": "x"}, false, ErrTraces},
		{"counts", map[string]string{"stats.db": "x"}, false, ErrTraces},
		{"an interrupted beginning", map[string]string{"config.db.tmp": "x"}, false, ErrTraces},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := quiet(filepath.Join(t.TempDir(), "data"))
			for name, text := range c.files {
				if err := os.MkdirAll(o.Dir, 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(o.Dir, name), []byte(text))
			}
			before := files(t, o.Dir)
			there, err := Initialised(o)
			if there != c.there || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v; want %v, %v", there, err, c.there, c.err)
			}
			if c.err == nil && !c.there {
				return // Init would begin
			}
			if err := Init(o); !errors.Is(err, ErrTraces) && !errors.Is(err, ErrExists) {
				t.Errorf("Init: %v", err)
			}
			same(t, "files", files(t, o.Dir), before)
		})
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	o := quiet(filepath.Join(t.TempDir(), "a", "data"))
	if there, err := Initialised(o); there || err != nil {
		t.Fatal(there, err)
	}
	if err := Init(o); err != nil {
		t.Fatal(err)
	}
	if there, err := Initialised(o); !there || err != nil {
		t.Fatal(there, err)
	}
	info, err := os.Stat(o.Dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v; want 0700", info.Mode(), err)
	}
	before := files(t, o.Dir)
	if err := Init(o); !errors.Is(err, ErrExists) {
		t.Errorf("a second time: %v, want ErrExists", err)
	}
	same(t, "files", files(t, o.Dir), before)
	openConfig(t, o)
}

func TestKEKElsewhere(t *testing.T) {
	t.Parallel()
	for _, given := range []bool{true, false} {
		o := quiet(filepath.Join(t.TempDir(), "data"))
		o.KEKFile = filepath.Join(t.TempDir(), "the-kek")
		if given {
			if err := seal.NewKEK(o.KEKFile); err != nil {
				t.Fatal(err)
			}
		}
		if err := Init(o); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(o.Dir, kekFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a KEK beside the database: %v", err)
		}
		openConfig(t, o)
	}
	inside := quiet(t.TempDir())
	inside.KEKFile = filepath.Join(inside.Dir, kekFile)
	if err := errors.Join(seal.NewKEK(inside.KEKFile), Init(inside)); err != nil {
		t.Errorf("a KEK that the operator has put into the directory: %v", err)
	}
}

func TestInitThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	o := quiet(filepath.Join(t.TempDir(), "data"))
	o.KEKFile = filepath.Join(t.TempDir(), "kek")
	write(t, o.KEKFile, []byte("not a key"))
	if err := Init(o); !errors.Is(err, seal.ErrMalformedKEK) {
		t.Errorf("got %v, want ErrMalformedKEK", err)
	}
	same(t, "files", files(t, o.Dir), map[string]string{})
	same(t, "the operator's file", string(read(t, o.KEKFile)), "not a key")

	if err := errors.Join(os.Remove(o.KEKFile), Init(o)); err != nil {
		t.Fatal(err)
	}
	openConfig(t, o)
}

func TestOnlyOneInitWins(t *testing.T) {
	t.Parallel()
	o := quiet(filepath.Join(t.TempDir(), "data"))
	o.KEKFile = filepath.Join(t.TempDir(), "kek")
	if err := seal.NewKEK(o.KEKFile); err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = Init(o) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		}
	}
	same(t, "won", won, 1)
	openConfig(t, o)
}

func TestLostAnchorIsWrittenAgain(t *testing.T) {
	t.Parallel()
	o := usedConfig(t, false)
	before := read(t, o.anchor())
	if err := os.Remove(o.anchor()); err != nil {
		t.Fatal(err)
	}
	openConfig(t, o)
	same(t, "anchor", read(t, o.anchor()), before)
}

func TestCreateBoltReplacesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	errFill := errors.New("fill")
	if err := createBolt(path, func(*bbolt.Tx) error { return errFill }); !errors.Is(err, errFill) {
		t.Errorf("a failing fill: %v", err)
	}
	same(t, "files after a failing fill", files(t, filepath.Dir(path)), map[string]string{})
	write(t, path+".tmp", []byte("of an interrupted try"))
	if err := createBolt(path, func(*bbolt.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := createBolt(path, func(*bbolt.Tx) error { return nil }); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v, want ErrExist", err)
	}
	db, err := openBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
