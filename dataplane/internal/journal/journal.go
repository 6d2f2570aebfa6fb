// Package journal keeps what a process must not forget when it is killed: records in files that outlive it.
//
// A record is written by one plain write, without a sync: what the kernel has taken survives the death of the process, though
// not that of the machine. Each is framed with its length and a checksum, so that a torn tail is told from a record; reading
// ends there. Every process writes files of its own and never appends to those of another, so whatever is read from them is the
// same however often it is read.
//
// The journal is for what is nice to have. If it cannot be written, or grows too large, it removes the files of this process and
// takes nothing more; nobody who appends is told, because nobody could do anything about it.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	segmentSize = 4 << 20  // beyond it a new file is begun when the writer says so
	maxSize     = 64 << 20 // of the files of one process
	maxAge      = 3 * 24 * time.Hour
	maxRecord   = 8 << 20
	header      = 9 // length, checksum, kind
)

var table = crc32.MakeTable(crc32.Castagnoli)

// Record is one record: what it is, and its content.
type Record struct {
	Kind byte
	Data []byte
}

// Past is what a former process has left.
type Past struct {
	Process int
	Records []Record
	Age     time.Duration // since it was written to last
}

// ErrInUse tells that another process writes to the folder.
var ErrInUse = errors.New("another process uses this journal")

// Writer appends the records of this process. All methods may be called by anyone at any time.
type Writer struct {
	dir     string
	process int
	log     *slog.Logger
	lock    *os.File // held as long as the process lives

	mu      sync.Mutex // guards what follows
	file    *os.File   // nil: it takes nothing more
	segment int        // number of the present file
	first   int        // number of the oldest one that is there
	size    int        // of the present file
	total   int        // of all
	sizes   map[int]int
	buffer  []byte
}

// Open makes the folder if need be, reads what former processes have left, the oldest first, and begins the files of this one.
// What a process has left is removed unread if its newest file has not been written to for three days.
func Open(dir string, log *slog.Logger) (*Writer, []Past, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("journal %s: %w", dir, err)
	}
	past, last, err := read(dir, log)
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", errors.Join(err, lock.Close()))
	}
	w := &Writer{dir: dir, process: last + 1, log: log, lock: lock, sizes: map[int]int{}}
	if w.file, err = w.create(0); err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	return w, past, nil
}

func name(process, segment int) string { return fmt.Sprintf("%010d-%06d.journal", process, segment) }

func (w *Writer) create(segment int) (*os.File, error) {
	return os.OpenFile(filepath.Join(w.dir, name(w.process, segment)), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
}

// Append adds a record. The parts are its content, one after the other.
func (w *Writer) Append(kind byte, parts ...[]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return
	}
	b := append(w.buffer[:0], 0, 0, 0, 0, 0, 0, 0, 0, kind)
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-header))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], table))
	w.buffer = b
	if len(b) > maxRecord || w.total+len(b) > maxSize {
		w.stopLocked(errors.New("it has grown too large: the control plane has been away for too long"))
		return
	}
	if _, err := w.file.Write(b); err != nil {
		w.stopLocked(err)
		return
	}
	w.size += len(b)
	w.total += len(b)
}

// stopLocked removes what this process has written: without the rest of it, it would be taken for more than it is.
func (w *Writer) stopLocked(why error) {
	w.log.Error("the journal is switched off until the next start: outcomes of the last moments are lost if this process is killed", "error", why.Error())
	_ = w.file.Close()
	w.file = nil
	for n := w.first; n <= w.segment; n++ {
		_ = os.Remove(filepath.Join(w.dir, name(w.process, n)))
	}
}

// Turn begins a new file if the present one is large, and says whether it did.
func (w *Writer) Turn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil || w.size < segmentSize {
		return false
	}
	next, err := w.create(w.segment + 1)
	if err != nil {
		w.stopLocked(err)
		return false
	}
	_ = w.file.Close()
	w.sizes[w.segment] = w.size
	w.file, w.size = next, 0
	w.segment++
	return true
}

// Keep removes the files of this process before this one.
func (w *Writer) Keep(segment int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; w.file != nil && w.first < min(segment, w.segment); w.first++ {
		_ = os.Remove(filepath.Join(w.dir, name(w.process, w.first)))
		w.total -= w.sizes[w.first]
		delete(w.sizes, w.first)
	}
}

// Forget removes the files of all former processes.
func (w *Writer) Forget() {
	each(w.dir, func(path string, process, _ int, _ fs.DirEntry) {
		if process < w.process {
			_ = os.Remove(path)
		}
	})
}

// Close ends writing. If nothing is left to be told, the files go too.
func (w *Writer) Close(done bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.lock.Close()
	if w.file == nil {
		return
	}
	_ = w.file.Close()
	w.file = nil
	if done {
		for n := w.first; n <= w.segment; n++ {
			_ = os.Remove(filepath.Join(w.dir, name(w.process, n)))
		}
	}
}

// each goes through the files in the order in which they were written; others in the folder are left alone.
func each(dir string, visit func(path string, process, segment int, e fs.DirEntry)) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return
	}
	for _, e := range entries {
		var process, segment int
		if n, _ := fmt.Sscanf(e.Name(), "%d-%d.journal", &process, &segment); n == 2 && e.Name() == name(process, segment) {
			visit(filepath.Join(dir, e.Name()), process, segment, e)
		}
	}
}

// ages answers how long ago each process wrote last.
func ages(dir string) map[int]time.Duration {
	all := map[int]time.Duration{}
	each(dir, func(_ string, process, _ int, e fs.DirEntry) {
		var age time.Duration
		if info, err := e.Info(); err == nil {
			age = max(time.Since(info.ModTime()), 0)
		}
		if youngest, known := all[process]; !known || age < youngest {
			all[process] = age
		}
	})
	return all
}

func read(dir string, log *slog.Logger) (all []Past, last int, err error) {
	age := ages(dir)
	each(dir, func(path string, process, _ int, _ fs.DirEntry) {
		last = max(last, process)
		if age[process] > maxAge {
			log.Warn("a journal older than three days is dropped: its outcomes are not counted", "file", path)
			err = errors.Join(err, os.Remove(path))
			return
		}
		text, readErr := os.ReadFile(path)
		if readErr != nil {
			err = errors.Join(err, readErr)
			return
		}
		at := slices.IndexFunc(all, func(p Past) bool { return p.Process == process })
		if at < 0 {
			all, at = append(all, Past{Process: process, Age: age[process]}), len(all)
		}
		all[at].Records = append(all[at].Records, parse(text)...)
	})
	return all, last, err
}

// parse answers the records up to the first that is not whole.
func parse(text []byte) (all []Record) {
	for len(text) >= header {
		n := int(binary.LittleEndian.Uint32(text))
		if n > maxRecord || len(text) < header+n || crc32.Checksum(text[8:header+n], table) != binary.LittleEndian.Uint32(text[4:]) {
			return all
		}
		all = append(all, Record{Kind: text[8], Data: text[header : header+n]})
		text = text[header+n:]
	}
	return all
}
