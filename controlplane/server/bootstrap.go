package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
)

const (
	rootName = "root"
	rootRole = "admin"

	adminTokenFile = "admin-token"
	joinTokenFile  = "join-token"
)

// bootstrap sees to it that there is a first admin. A credential that was given is root's from now on; without one, and
// without a root, one is generated and shown to a person, or left in a file that only its owner can read.
func (s *Server) bootstrap(ctx context.Context) error {
	given, err := secretFrom(s.cfg.AdminToken, s.cfg.AdminTokenFile, "admin token")
	if err != nil {
		return err
	}
	if given != "" {
		if err := checkAdminToken(given); err != nil {
			return err
		}
		return s.setRoot(ctx, given)
	}
	switch there, err := s.hasRoot(); {
	case err != nil:
		return err
	case there:
		return nil
	}
	made := newToken()
	if s.cfg.Show != nil && !s.cfg.Dev {
		s.cfg.Show("The first admin's token, shown once: " + made)
	} else if err := s.leave(adminTokenFile, made); err != nil {
		return err
	}
	return s.setRoot(ctx, made)
}

func (s *Server) hasRoot() (there bool, err error) {
	err = s.db.config.View(func(tx *store.Tx) error {
		_, err := tx.Admin(rootName)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		there = err == nil
		return err
	})
	return there, err
}

func (s *Server) setRoot(ctx context.Context, token string) error {
	hash := sha256.Sum256([]byte(token))
	_, err := s.db.config.Update(ctx, func(tx *store.Tx) error {
		root, err := tx.Admin(rootName)
		switch {
		case errors.Is(err, store.ErrNotFound):
			root = store.Admin{Name: rootName, Role: rootRole, CreateTime: s.cfg.Now()}
		case err != nil:
			return err
		case root.Hash == hash:
			return nil
		default:
			s.cfg.Logger.Warn("root's credential replaced by the one given")
		}
		root.Hash = hash
		return tx.PutAdmin(root)
	})
	return err
}

// checkAdminToken refuses what could be guessed: short ones, and ones made of few different characters.
func checkAdminToken(token string) error {
	different := map[rune]bool{}
	for _, r := range token {
		different[r] = true
	}
	if len(token) < minAdminToken || len(different) < 10 {
		return fmt.Errorf("the admin token is too weak: at least %d characters, 10 of them different; "+
			"`openssl rand -base64 32` makes a good one", minAdminToken)
	}
	return nil
}

// joinToken answers the reusable join token, if there is one. With Dev it is made and left in the data directory.
func (s *Server) joinToken() (pool.Secret, error) {
	given, err := secretFrom(s.cfg.JoinToken, s.cfg.JoinTokenFile, "join token")
	if err != nil {
		return pool.Secret{}, err
	}
	if given == "" && s.cfg.Dev {
		kept, err := os.ReadFile(filepath.Join(s.cfg.DataDir, joinTokenFile))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			given = newToken()
			if err := s.leave(joinTokenFile, given); err != nil {
				return pool.Secret{}, err
			}
		case err != nil:
			return pool.Secret{}, err
		default:
			given = strings.TrimSpace(string(kept))
		}
	}
	if given != "" {
		err = checkJoinToken(given)
	}
	return pool.NewSecret(given), err
}

// checkJoinToken refuses one that could be guessed.
func checkJoinToken(token string) error {
	if len(token) < minJoinToken {
		return fmt.Errorf("the join token is too weak: at least %d characters", minJoinToken)
	}
	return nil
}

// leave writes a credential to a file of the data directory that only its owner can read, and logs where.
func (s *Server) leave(name, secret string) error {
	path := filepath.Join(s.cfg.DataDir, name)
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return err
	}
	s.cfg.Logger.Info("made a credential", "file", path)
	return nil
}

// secretFrom answers a secret given in the environment or in a file; empty: neither.
func secretFrom(value, file, what string) (string, error) {
	if value != "" || file == "" {
		return strings.TrimSpace(value), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if value = strings.TrimSpace(string(text)); value == "" {
		return "", fmt.Errorf("%s: %s is empty", what, file)
	}
	return value, nil
}

// newToken draws 260 bits in 52 letters and digits.
func newToken() string { return rand.Text() + rand.Text() }
