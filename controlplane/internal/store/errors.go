package store

import (
	"errors"

	"ollama-api-pool/controlplane/internal/seal"
)

// Why a data directory is refused. No file has been changed when one of these is answered.
var (
	// ErrMissing tells that there is no database.
	ErrMissing = errors.New("the database is missing; restore it, or choose an empty data directory to begin anew")
	// ErrTraces tells that the directory was in use before but has no sound database, so that beginning anew might
	// quietly throw a pool away.
	ErrTraces = errors.New("the data directory was in use before but its database is gone; restore it, or empty the directory to begin anew")
	// ErrDamaged tells that what is on disk is not what was written; the text around it names what.
	ErrDamaged = errors.New("the database is damaged; restore a backup")
	// ErrLocked tells that another process has the database open.
	ErrLocked = errors.New("the database is in use by another process")
	// ErrNewerSchema tells that a newer release has written the database.
	ErrNewerSchema = errors.New("the database was written by a newer release; run that release or a later one")
	// ErrWrongKEK tells that the key encryption key is not the one that this database was made with.
	ErrWrongKEK = seal.ErrWrongKEK
)

// Why a transaction did not happen. Only after ErrFailed is it unknown whether the change is on disk.
var (
	// ErrNotFound tells that there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrExists tells that another record has the secret, token or credential.
	ErrExists = errors.New("already exists")
	// ErrOtherProvider tells of a try to move a key to another provider, to whose origin its secret was never given.
	ErrOtherProvider = errors.New("a key's provider never changes")
	// ErrReadOnly tells of a write inside View.
	ErrReadOnly = errors.New("a view changes nothing")
	// ErrNoSpace tells that the disk is full. Nothing was changed and the store goes on.
	ErrNoSpace = errors.New("the disk is full; nothing was changed")
	// ErrClosed tells that the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrFailed tells that the disk failed in the middle of a commit. What a failed sync left behind cannot be known,
	// so the process must exit; the next start checks everything.
	ErrFailed = errors.New("the disk failed during a commit; the process must restart")
)

// Mistakes of callers, who check what strangers send.
var (
	errNoSecret = errors.New("a key or join token needs a secret")
	errNoName   = errors.New("a record needs a name of 1 to 256 bytes")

	errUnfinished = errors.New("the function did not return")
)

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
