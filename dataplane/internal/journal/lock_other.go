//go:build !unix

package journal

import (
	"os"
	"path/filepath"
)

// lockFolder knows no lock here: two processes must not share a folder.
func lockFolder(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
