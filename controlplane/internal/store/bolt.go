package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// lockTimeout is how long a start waits for a former process to let go of a file.
	lockTimeout = 3 * time.Second

	// firstMap is address space, not memory. A file that outgrows its mapping makes the writer wait for every open
	// reader, so the mapping begins larger than the file: 1 GiB, or nothing where addresses have 32 bits.
	firstMap = int(^uint(0) >> 63 << 30)
)

// boltOptions are those of every file. Commits are always synced. The list of free pages is not written, which would
// burden each commit, but found again by a scan at opening.
func boltOptions() *bbolt.Options {
	return &bbolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bbolt.FreelistMapType,
		NoFreelistSync:  true,
		InitialMmapSize: firstMap,
	}
}

// openBolt opens and locks an existing database. It answers ErrMissing, ErrLocked or ErrDamaged, having changed nothing,
// for a file that is not there, is in use, or is empty, truncated or not of sound structure.
func openBolt(path string) (*bbolt.DB, error) {
	if err := checkThere(path); err != nil {
		return nil, err
	}
	if err := checkFile(path); err != nil {
		return nil, err
	}
	options := boltOptions()
	options.OpenFile = openExisting
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return nil, openError(path, err)
	}
	return db, nil
}

// checkFile reads the whole file under a shared lock before anything trusts it: bbolt itself panics over a page that
// is not what its parent says, in a goroutine where nobody can recover, and faults beyond the end of a truncated file.
func checkFile(path string) error {
	options := boltOptions()
	options.ReadOnly = true
	options.InitialMmapSize = 0
	var file *os.File
	options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		file, err = openExisting(name, flag, mode)
		return file, err
	}
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return openError(path, err)
	}
	defer db.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := checkPages(file, info.Size(), db.Info().PageSize); err != nil {
		return openError(path, err)
	}
	return nil
}

// checkThere refuses what bbolt would take for an invitation to begin a new database.
func checkThere(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", path, ErrMissing)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: %w: not a regular file", path, ErrDamaged)
	case info.Size() == 0:
		return fmt.Errorf("%s: %w: the file is empty", path, ErrDamaged)
	}
	return nil
}

// openExisting never makes a file.
func openExisting(name string, flag int, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag&^os.O_CREATE, mode)
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%s: %w", path, ErrLocked)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", path, ErrMissing)
	case isErrno(err):
		return err // permissions and the like: nothing is wrong with what is in the file
	default:
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
}

func isErrno(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// createBolt makes a database that is either wholly there, filled and synced, or not at all. It never replaces one.
func createBolt(path string, fill func(*bbolt.Tx) error) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create %s: %w", path, fs.ErrExist)
	}
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := buildBolt(tmp, fill); err != nil {
		return errors.Join(fmt.Errorf("create %s: %w", path, err), os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func buildBolt(path string, fill func(*bbolt.Tx) error) error {
	db, err := bbolt.Open(path, 0o600, boltOptions())
	if err != nil {
		return err
	}
	return errors.Join(db.Update(fill), db.Close()) // the commit syncs
}

// syncDir makes names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
