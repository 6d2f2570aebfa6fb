package store

import (
	"log/slog"
	"path/filepath"
	"time"
)

// Options say where the store is. Dir must be given.
type Options struct {
	Dir     string           // data directory
	KEKFile string           // default: Dir/kek
	Now     func() time.Time // default: time.Now
	Logger  *slog.Logger     // default: slog.Default
}

// The files in Dir.
const (
	configFile = "config.db"
	kekFile    = "kek"
	anchorFile = "anchor"
)

func (o Options) withDefaults() Options {
	if o.KEKFile == "" {
		o.KEKFile = filepath.Join(o.Dir, kekFile)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func (o Options) config() string { return filepath.Join(o.Dir, configFile) }
func (o Options) anchor() string { return filepath.Join(o.Dir, anchorFile) }
