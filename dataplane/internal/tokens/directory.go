package tokens

import "sync"

// Directory finds tokens by their digest. Because a token is looked up by its SHA-256, the time that takes tells nothing of
// the tokens that are there. All methods may be called at any time from anywhere.
type Directory struct {
	table table

	mu   sync.Mutex          // guards byID, and all changes to the table
	byID map[uint64][32]byte // digest of each token
}

// table is split so that lookups of different tokens do not share a lock.
type table [64]shard

type shard struct {
	mu     sync.RWMutex // guards tokens
	tokens map[[32]byte]*Token
}

// NewDirectory makes an empty directory.
func NewDirectory() *Directory {
	return &Directory{byID: map[uint64][32]byte{}}
}

// Lookup answers the token with the digest.
func (d *Directory) Lookup(hash [32]byte) (*Token, bool) {
	return d.table.get(hash)
}

// ByID answers the token with the id.
func (d *Directory) ByID(id uint64) (*Token, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	hash, ok := d.byID[id]
	if !ok {
		return nil, false
	}
	return d.table.get(hash)
}

// Any says whether there is a token of which is says so.
func (d *Directory) Any(is func(id uint64) bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.byID {
		if is(id) {
			return true
		}
	}
	return false
}

// Len answers how many tokens there are.
func (d *Directory) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.byID)
}

// Has says whether there is a token with this id.
func (d *Directory) Has(id uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.byID[id]
	return ok
}

// Put adds the token, or replaces the one with its id or its digest.
func (d *Directory) Put(t *Token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if hash, ok := d.byID[t.ID]; ok && hash != t.Hash {
		d.removeLocked(t.ID)
	}
	if other, ok := d.table.get(t.Hash); ok && other.ID != t.ID {
		delete(d.byID, other.ID)
	}
	d.table.put(t)
	d.byID[t.ID] = t.Hash
}

// Remove takes the token away; an unknown id is no error.
func (d *Directory) Remove(id uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removeLocked(id)
}

// Keep removes the tokens that keep does not want.
func (d *Directory) Keep(keep func(id uint64) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.byID {
		if !keep(id) {
			d.removeLocked(id)
		}
	}
}

func (d *Directory) removeLocked(id uint64) {
	if hash, ok := d.byID[id]; ok {
		delete(d.byID, id)
		d.table.remove(hash)
	}
}

func (tb *table) shard(hash [32]byte) *shard { return &tb[hash[0]%byte(len(tb))] }

func (tb *table) get(hash [32]byte) (*Token, bool) {
	s := tb.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.tokens[hash]
	return t, ok
}

func (tb *table) put(t *Token) {
	s := tb.shard(t.Hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = map[[32]byte]*Token{}
	}
	s.tokens[t.Hash] = t
}

func (tb *table) remove(hash [32]byte) {
	s := tb.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, hash)
}
