package leases

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"ollama-api-pool/dataplane/internal/journal"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// replay answers the batches that former processes of the node have not got confirmed, the oldest first: those that were sealed,
// and one more of each process, or as many as it takes, for what was counted and not sealed, and for what had begun and whose end
// nobody knows. The same journal makes the same batches under the same names, so they may be sent again by any number of
// processes. The last epoch that they had must not be this process's too: their batches would bear the same names as its own.
func replay(past []journal.Past) (unconfirmed []sealed, lastEpoch uint64) {
	committed := map[uint64]uint64{}
	replaced := map[[2]uint64]bool{}
	var all []sealed
	for _, p := range past {
		batches, epoch := replayOne(p.Records, committed, replaced)
		for i := range batches {
			batches[i].at = -p.Age // from now; the reporter knows now
		}
		all, lastEpoch = append(all, batches...), max(lastEpoch, epoch)
	}
	return slices.DeleteFunc(all, func(s sealed) bool {
		return s.seq <= committed[s.epoch] || replaced[[2]uint64{s.epoch, s.seq}]
	}), lastEpoch
}

func replayOne(records []journal.Record, committed map[uint64]uint64, replaced map[[2]uint64]bool) (all []sealed, epoch uint64) {
	var covered uint64
	last := map[uint64]uint64{}
	begun, over := map[uint64]*leasev1.OutcomeBatch{}, map[uint64]bool{}
	type outcome struct {
		generation uint64
		row        *leasev1.OutcomeBatch
	}
	var outcomes []outcome
	for _, r := range records {
		read := reader(r.Data)
		switch r.Kind {
		case noteEpoch:
			epoch = read.number()
		case noteBegun:
			id := read.number()
			begun[id] = read.row()
		case noteEnded:
			id, generation := read.number(), read.number()
			over[id] = true
			if row := read.row(); row != nil {
				outcomes = append(outcomes, outcome{generation, row})
			}
		case noteSealed:
			covered = max(covered, read.number())
			if e, seq := read.number(), read.number(); e != 0 {
				replaced[[2]uint64{e, seq}] = true
			}
			for _, s := range read.batches() {
				all = append(all, s)
				last[s.epoch] = max(last[s.epoch], s.seq)
			}
		case noteConfirm:
			e, seq := read.number(), read.number()
			committed[e] = max(committed[e], seq)
			last[e] = max(last[e], seq)
		}
	}
	var rows []*leasev1.OutcomeBatch
	for _, o := range outcomes {
		if o.generation > covered {
			rows = append(rows, o.row)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(begun)) {
		if !over[id] && begun[id] != nil {
			rows = append(rows, begun[id])
		}
	}
	if epoch == 0 {
		return all, 0
	}
	for _, batch := range parts(merge(rows)) {
		last[epoch]++
		all = append(all, sealed{epoch: epoch, seq: last[epoch], batch: batch})
	}
	return all, epoch
}

// reader takes a record apart; what is not there reads as nothing.
type reader []byte

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(*r)
	*r = (*r)[max(size, 0):]
	return n
}

func (r *reader) row() *leasev1.OutcomeBatch {
	row := &leasev1.OutcomeBatch{}
	if len(*r) == 0 || proto.Unmarshal(*r, row) != nil {
		return nil
	}
	return row
}

func (r *reader) batches() (all []sealed) {
	for len(*r) > 0 {
		size := r.number()
		if size > uint64(len(*r)) {
			return all
		}
		req := &leasev1.ReportOutcomesRequest{}
		if proto.Unmarshal((*r)[:size], req) == nil {
			all = append(all, sealed{epoch: req.GetNodeEpoch(), seq: req.GetSeq(), batch: req.GetBatch()})
		}
		*r = (*r)[size:]
	}
	return all
}

// merge adds rows up: one for each key and model, and for each token and model.
func merge(rows []*leasev1.OutcomeBatch) *leasev1.OutcomeBatch {
	sum := &leasev1.OutcomeBatch{}
	models := map[model]uint32{}
	keys, tokens := map[[2]uint64]*leasev1.KeyCounters{}, map[[2]uint64]*leasev1.TokenCounters{}
	place := func(from *leasev1.OutcomeBatch, at uint32) uint32 {
		ref := from.GetModels()[at]
		m := model{ref.GetProviderId(), ref.GetName()}
		n, known := models[m]
		if !known {
			n = uint32(len(sum.Models))
			models[m] = n
			sum.Models = append(sum.Models, ref)
		}
		return n
	}
	for _, row := range rows {
		for _, k := range row.GetKeys() {
			m := place(row, k.GetModel())
			at := [2]uint64{k.GetKeyId(), uint64(m)}
			if keys[at] == nil {
				keys[at] = &leasev1.KeyCounters{KeyId: k.GetKeyId(), Model: m}
				sum.Keys = append(sum.Keys, keys[at])
			}
			addCounts(keys[at], k)
		}
		for _, t := range row.GetTokens() {
			m := place(row, t.GetModel())
			at := [2]uint64{t.GetTokenId(), uint64(m)}
			if tokens[at] == nil {
				tokens[at] = &leasev1.TokenCounters{TokenId: t.GetTokenId(), Model: m}
				sum.Tokens = append(sum.Tokens, tokens[at])
			}
			addCounts(tokens[at], t)
		}
	}
	return sum
}

// parts cuts a sum into batches that fit into a message; none: there is nothing in it. They share the list of models.
func parts(sum *leasev1.OutcomeBatch) (all []*leasev1.OutcomeBatch) {
	keys, tokens := sum.GetKeys(), sum.GetTokens()
	for len(keys)+len(tokens) > 0 {
		k, t := min(len(keys), maxRows/2), min(len(tokens), maxRows/2)
		all = append(all, &leasev1.OutcomeBatch{Models: sum.GetModels(), Keys: keys[:k], Tokens: tokens[:t]})
		keys, tokens = keys[k:], tokens[t:]
	}
	return all
}

// addCounts adds all counters; ids are of another kind.
func addCounts(to, from proto.Message) {
	sum := to.ProtoReflect()
	from.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() == protoreflect.Uint64Kind {
			sum.Set(f, protoreflect.ValueOfUint64(sum.Get(f).Uint()+v.Uint()))
		}
		return true
	})
}

// valid makes a name fit for a message.
func valid(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }
