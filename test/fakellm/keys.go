package fakellm

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// keyState is what the provider remembers of one key. Upstream.mu guards it.
type keyState struct {
	behaviour Behaviour
	turns     int // requests that took a turn of the behaviour
	*tally        // its own, or its account's
}

// tally is what a provider counts of a key, or of all keys of an account together.
type tally struct {
	coolFrom time.Time // the first refusal of a behaviour that cools
	starts   []time.Time
	running  int
}

// SetKey makes a key known and says how it behaves from its next request on.
// Setting it again begins the behaviour anew, while the requests of the last
// minute and those under way still count towards the new limits. It fails if the
// behaviour is impossible or the secret cannot travel in a header.
func (u *Upstream) SetKey(secret string, b Behaviour) error {
	return u.SetKeys(map[string]Behaviour{secret: b})
}

// SetKeys is SetKey for many: all are set, or none if one fails.
func (u *Upstream) SetKeys(keys map[string]Behaviour) error {
	for secret, b := range keys {
		if err := validSecret(secret); err != nil {
			return err
		}
		if err := b.Validate(); err != nil {
			return fmt.Errorf("key %s: %w", tail(secret), err)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for secret, b := range keys {
		k := u.keyLocked(secret)
		u.countLocked(k, b.Account)
		k.behaviour, k.turns, k.coolFrom = b.clone(), 0, time.Time{}
	}
	return nil
}

// RemoveKey makes keys unknown: from the next request on they answer 401, unless
// Config.AcceptAnyKey is set. Requests under way are not disturbed.
func (u *Upstream) RemoveKey(secrets ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range secrets {
		delete(u.keys, s)
	}
}

// RemoveAllKeys makes every key unknown.
func (u *Upstream) RemoveAllKeys() {
	u.mu.Lock()
	defer u.mu.Unlock()
	clear(u.keys)
}

func (u *Upstream) keyLocked(secret string) *keyState {
	k := u.keys[secret]
	if k == nil {
		k = &keyState{tally: &tally{}}
		u.keys[secret] = k
	}
	return k
}

// countLocked has the key counted with its account from now on; empty: by itself.
func (u *Upstream) countLocked(k *keyState, account string) {
	if account == k.behaviour.Account {
		return
	}
	k.tally = &tally{}
	if account == "" {
		return
	}
	if u.accounts[account] == nil {
		u.accounts[account] = &tally{}
	}
	k.tally = u.accounts[account]
}

// turnLocked takes one turn of the key's behaviour.
func (k *keyState) turnLocked(now time.Time) Behaviour {
	b := k.behaviour
	k.turns++
	if len(b.Script) > 0 {
		return b.Script[min(k.turns, len(b.Script))-1]
	}
	if b.Times > 0 && k.turns > b.Times {
		return Behaviour{}
	}
	if b.CoolUntilRetryAfter {
		return k.coolLocked(b, now)
	}
	return b
}

func validSecret(s string) error {
	if s == "" {
		return errors.New("key: must not be empty")
	}
	for _, r := range s {
		if r <= ' ' || r >= 0x7f {
			return errors.New("key: must be printable ASCII without spaces, or it cannot travel in a header")
		}
	}
	return nil
}

// credential finds the key of a request. Two different ones are a fault of the
// sender; the Bearer token is then the one that is judged.
func credential(r *http.Request) (key string, fault string) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		key = strings.TrimSpace(token)
	}
	other := r.Header.Get("X-Api-Key")
	if key == "" {
		return other, ""
	}
	if other != "" && other != key {
		return key, "two different credentials in one request"
	}
	return key, ""
}

// tail shows enough of a key to tell it from others, and never all of it.
func tail(key string) string {
	if key == "" {
		return "(none)"
	}
	from := len(key) - min(4, len(key)/2)
	for from < len(key) && !utf8.RuneStart(key[from]) {
		from++
	}
	return "…" + key[from:]
}
