package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Prepare makes ready what a fleet needs that starts with nobody there: a data directory, and a reusable join token in the
// file from which the control plane and its data planes read it. What is there stays as it is, so that Prepare can run
// before every start.
func Prepare(c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	if c.JoinTokenFile == "" {
		return errors.New("nobody has said where the join token is to be written: give --join-token-file or APIPOOL_JOIN_TOKEN_FILE")
	}
	if err := initialise(c); err != nil {
		return err
	}
	return c.writeJoinToken()
}

// writeJoinToken leaves a token in its file unless a good one is there. A bad one is for people to look at: an operator
// may have put it there, and nodes may be joining by it.
func (c Config) writeJoinToken() error {
	path := c.JoinTokenFile
	if there, err := c.keepsJoinToken(); there || err != nil {
		return err
	}
	err := writeNew(path, newToken()+"\n")
	if errors.Is(err, fs.ErrExist) { // another init was faster
		_, err = c.keepsJoinToken()
		return err
	}
	if err != nil {
		return fmt.Errorf("join token: %w", err)
	}
	c.Logger.Info("made a credential", "file", path)
	return nil
}

// keepsJoinToken says whether there is a good join token; one that is there but not good is an error.
func (c Config) keepsJoinToken() (bool, error) {
	token, err := secretFrom("", c.JoinTokenFile, "join token")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = checkJoinToken(token)
	}
	if err != nil {
		return false, fmt.Errorf("%w; it is left as it is: put a better one into %s, or remove that file", err, c.JoinTokenFile)
	}
	c.Logger.Info("kept the join token that is there", "file", c.JoinTokenFile)
	return true, nil
}

// writeNew leaves text at path, wholly or not at all, in a file of mode 0600 that outlasts a power cut. It is linked there
// rather than renamed, because a rename would replace what somebody else has just written.
func writeNew(path, text string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // its other name stays
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
