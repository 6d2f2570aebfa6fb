package seal

import "errors"

var (
	// ErrWrongKEK tells that a keyset was wrapped by another KEK. Nothing was changed.
	ErrWrongKEK = errors.New("the key encryption key (KEK) is not the one that this database was made with; give the KEK file that belongs to it")
	// ErrMissingKEK tells that there is no KEK file.
	ErrMissingKEK = errors.New("the key encryption key (KEK) file is missing; without it no stored secret can be read, so restore it from its backup")
	// ErrOpenKEK tells that others than the owner may use the KEK file.
	ErrOpenKEK = errors.New("the key encryption key (KEK) file can be used by others than its owner; set its mode to 0600 or 0400")
	// ErrMalformedKEK tells that the file holds no KEK.
	ErrMalformedKEK = errors.New("the key encryption key (KEK) file is malformed: it must hold 32 bytes in hex or base64")
	// ErrDamaged tells that a sealed value or keyset is not what was sealed here, under this associated data.
	ErrDamaged = errors.New("a sealed value does not open: it was damaged, swapped or sealed by another keyset")
)
