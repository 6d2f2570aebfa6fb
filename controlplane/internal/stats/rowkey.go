package stats

import (
	"encoding/binary"
	"fmt"
	"strings"

	"ollama-api-pool/controlplane/internal/pool"
)

// RowKey names a row of counts, in memory and on disk alike:
//
//	'k' key u64                  attempts with a key
//	't' token u64                requests with a token
//	'p' provider                 attempts at a provider
//	'q' provider                 requests for a provider
//	'm' provider 0 model         requests for a model
//	'h' hour u32, key u64        total, success and failure of a key's attempts in an hour
//	'a' hour u32, provider       attempts at a provider in an hour
//	'r' hour u32, provider       requests for a provider in an hour
//
// Numbers are big-endian; an hour counts from 1970. It comes first, so that hours that are over lie side by side.
type RowKey string

const (
	rowKey              = 'k'
	rowToken            = 't'
	rowProvider         = 'p'
	rowProviderRequests = 'q'
	rowModel            = 'm'
	rowKeyHour          = 'h'
	rowProviderHour     = 'a'
	rowRequestHour      = 'r'
)

// idRow is the row of a key or token.
func idRow(kind byte, id uint64) RowKey {
	var b [9]byte
	b[0] = kind
	binary.BigEndian.PutUint64(b[1:], id)
	return RowKey(b[:])
}

func keyHourRow(hour uint32, id pool.KeyID) RowKey {
	var b [13]byte
	b[0] = rowKeyHour
	binary.BigEndian.PutUint32(b[1:], hour)
	binary.BigEndian.PutUint64(b[5:], uint64(id))
	return RowKey(b[:])
}

func providerRow(kind byte, p pool.ProviderID) RowKey { return RowKey(kind) + RowKey(p) }

func providerHourRow(kind byte, hour uint32, p pool.ProviderID) RowKey {
	return hourEdge(kind, hour) + RowKey(p)
}

func modelRow(m modelName) RowKey {
	return RowKey(rowModel) + RowKey(m.provider) + "\x00" + RowKey(m.model)
}

// hourEdge is where an hour begins among the rows of its kind.
func hourEdge(kind byte, hour uint32) RowKey {
	b := [5]byte{kind}
	binary.BigEndian.PutUint32(b[1:], hour)
	return RowKey(b[:])
}

// row is a RowKey taken apart.
type row struct {
	kind     byte
	id       uint64
	hour     uint32
	provider pool.ProviderID
	model    string
}

func (r row) isHour() bool {
	return r.kind == rowKeyHour || r.kind == rowProviderHour || r.kind == rowRequestHour
}

func (k RowKey) parse() (row, error) {
	if k == "" {
		return row{}, fmt.Errorf("row %q: empty", string(k))
	}
	r, rest := row{kind: k[0]}, string(k[1:])
	if r.isHour() {
		if len(rest) < 4 {
			return row{}, fmt.Errorf("row %q: no hour", string(k))
		}
		r.hour, rest = binary.BigEndian.Uint32([]byte(rest[:4])), rest[4:]
	}
	switch r.kind {
	case rowKey, rowToken, rowKeyHour:
		if len(rest) != 8 {
			return row{}, fmt.Errorf("row %q: no id", string(k))
		}
		r.id = binary.BigEndian.Uint64([]byte(rest))
	case rowProvider, rowProviderRequests, rowProviderHour, rowRequestHour:
		r.provider = pool.ProviderID(rest)
	case rowModel:
		provider, model, found := strings.Cut(rest, "\x00")
		if !found {
			return row{}, fmt.Errorf("row %q: no model", string(k))
		}
		r.provider, r.model = pool.ProviderID(provider), model
	default:
		return row{}, fmt.Errorf("row %q: of an unknown kind", string(k))
	}
	return r, nil
}
