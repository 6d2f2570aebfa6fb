package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// life is what tells one pool's data from another's. The anchor file beside the database says it too, so that a lost,
// emptied or exchanged database is noticed.
type life struct {
	clusterID string
	lineage   [16]byte
}

func (l life) anchor() []byte {
	return fmt.Appendf(nil, "apipool anchor 1\ncluster %s\nlineage %x\n", l.clusterID, l.lineage)
}

// writeAnchor never replaces a file.
func (l life) writeAnchor(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(l.anchor())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// checkAnchor answers whether there is an anchor, and ErrDamaged if it is of another database.
func (l life) checkAnchor(path string) (bool, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !bytes.Equal(text, l.anchor()):
		return true, fmt.Errorf("%s: %w: the anchor belongs to another database", path, ErrDamaged)
	default:
		return true, nil
	}
}
