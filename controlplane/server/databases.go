package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ollama-api-pool/controlplane/internal/ca"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
)

// databases are the two files: config.db, rarely written and synced per change, and stats.db, written every tick.
type databases struct {
	config *store.Store
	stats  *store.Stats
}

func (c Config) storeOptions() store.Options {
	return store.Options{Dir: c.DataDir, KEKFile: c.KEKFile, Now: c.Now, Logger: c.Logger}
}

// Init makes a data directory, and refuses one that was in use before.
func Init(c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	return store.Init(c.storeOptions())
}

// initialise makes an empty or absent directory a data directory, and leaves one that is in use alone. One with any trace
// of an earlier life but without a sound database is refused, because beginning anew would quietly throw a pool away.
func initialise(c Config) error {
	switch there, err := store.Initialised(c.storeOptions()); {
	case err != nil:
		return fmt.Errorf("data directory %s: %w", c.DataDir, err)
	case there:
		return nil
	}
	if err := store.Init(c.storeOptions()); err != nil {
		return err
	}
	c.Logger.Info("initialised an empty data directory", "data_dir", c.DataDir)
	return nil
}

// openDatabases opens what is there, after initialise has seen to it that there is something.
func openDatabases(c Config) (*databases, error) {
	if err := initialise(c); err != nil {
		return nil, err
	}
	config, err := store.Open(c.storeOptions())
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", c.DataDir, err)
	}
	path := filepath.Join(c.DataDir, "stats.db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && config.Term() == 1 { // the very first start
		if err := store.CreateStats(path); err != nil {
			return nil, errors.Join(err, config.Close())
		}
	}
	figures, err := store.OpenStats(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("statistics %s: %w", path, err), config.Close())
	}
	return &databases{config: config, stats: figures}, nil
}

func (d *databases) close() error { return errors.Join(d.config.Close(), d.stats.Close()) }

// everything answers the whole configuration as changes, for the pool to begin with.
func (d *databases) everything() ([]pool.Change, error) {
	var all []pool.Change
	err := d.config.View(func(tx *store.Tx) error {
		for p, err := range tx.Providers() {
			if err != nil {
				return err
			}
			all = append(all, pool.Change{Revision: p.Revision, Provider: &p})
		}
		for n, err := range tx.Nodes() {
			if err != nil {
				return err
			}
			all = append(all, pool.Change{Node: &n})
		}
		for t, err := range tx.Tokens() {
			if err != nil {
				return err
			}
			all = append(all, pool.Change{Revision: t.Revision, Token: &t})
		}
		for k, err := range tx.Keys() {
			if err != nil {
				return err
			}
			all = append(all, pool.Change{Revision: k.Revision, Key: &k})
		}
		for removed, err := range tx.CutKeys() {
			if err != nil {
				return err
			}
			all = append(all, removed)
		}
		return nil
	})
	if err == nil && len(all) > 0 {
		all[len(all)-1].Revision = max(all[len(all)-1].Revision, d.config.Revision()) // deletions count too
	}
	return all, err
}

const caName = "ca"

// authority answers the cluster's CA; the first start makes it.
func (d *databases) authority(ctx context.Context, now time.Time) (*ca.CA, error) {
	var made *ca.CA
	_, err := d.config.Update(ctx, func(tx *store.Tx) error {
		text, err := tx.Sealed(caName)
		if err == nil {
			made, err = ca.Load(d.config.ClusterID(), text.Reveal())
			return err
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if made, err = ca.New(d.config.ClusterID(), now); err != nil {
			return err
		}
		plain, err := made.Marshal()
		if err != nil {
			return err
		}
		return tx.PutSealed(caName, pool.NewSecret(plain))
	})
	return made, err
}
