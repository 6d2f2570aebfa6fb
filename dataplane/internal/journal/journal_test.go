package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, dir string) (*Writer, []Past) {
	t.Helper()
	w, past, err := Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return w, past
}

func TestWhatIsWrittenIsReadByTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	for i := range 10 {
		w.Append('a', []byte("one"), fmt.Append(nil, i))
	}
	if _, _, err := Open(dir, quiet); !errors.Is(err, ErrInUse) {
		t.Errorf("while it is written to: %v", err)
	}
	w.Close(false)
	w2, past := open(t, dir)
	if len(past) != 1 || len(past[0].Records) != 10 || string(past[0].Records[3].Data) != "one3" || past[0].Records[3].Kind != 'a' {
		t.Fatalf("read %+v", past)
	}
	w2.Append('b', []byte("two"))
	w2.Close(false)
	w25, past := open(t, dir)
	w25.Close(false)
	if len(past) != 2 || len(past[1].Records) != 1 {
		t.Fatalf("read %+v", past)
	}
	w3, _ := open(t, dir)
	w3.Forget()
	w3.Close(false)
	if _, past = open(t, dir); len(past) != 1 { // that of w3, which is empty
		t.Errorf("after all is forgotten %d processes are left", len(past))
	}
}

// A file that is cut or damaged anywhere yields the records before that place and nothing else.
func TestATornTail(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	for i := range 20 {
		w.Append('a', bytes.Repeat([]byte{byte(i)}, i))
	}
	path := filepath.Join(dir, name(1, 0))
	text, _ := os.ReadFile(path)
	whole := parse(text)
	for cut := range text {
		got := parse(text[:cut])
		damaged := bytes.Clone(text)
		damaged[cut] ^= 0x20
		for _, records := range [][]Record{got, parse(damaged)} {
			for i, r := range records {
				if r.Kind != whole[i].Kind || !bytes.Equal(r.Data, whole[i].Data) {
					t.Fatalf("at %d: record %d is another", cut, i)
				}
			}
		}
	}
}

func TestFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	piece := make([]byte, 1<<20)
	for range 12 {
		w.Append('a', piece)
		w.Turn()
	}
	count := func() (n int) {
		each(dir, func(string, int, int, fs.DirEntry) { n++ })
		return n
	}
	if count() != 4 {
		t.Errorf("%d files", count())
	}
	w.Keep(2)
	if count() != 2 {
		t.Errorf("%d files after two have been let go", count())
	}
	for range 80 {
		w.Append('a', piece)
		w.Turn()
	}
	if count() != 0 {
		t.Errorf("it is too large, and %d files are left", count())
	}
	w.Append('a', piece) // takes nothing more
	w.Close(false)
	if _, past := open(t, dir); len(past) != 0 {
		t.Error("something is read of what was given up")
	}
}

func TestAnOldJournalIsDropped(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	w.Append('a', []byte("old"))
	w.Close(false)
	old := time.Now().Add(-4 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, name(1, 0)), old, old); err != nil {
		t.Fatal(err)
	}
	if _, past := open(t, dir); len(past) != 0 {
		t.Errorf("read %+v", past)
	}
}

// A journal is as old as its newest record: what is full and was written long ago is part of one that is not old.
func TestAJournalIsAsOldAsItsNewestRecord(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	for range 5 {
		w.Append('a', make([]byte, 1<<20))
	}
	if !w.Turn() {
		t.Fatal("no second file was begun")
	}
	w.Append('b', []byte("new"))
	w.Close(false)
	old := time.Now().Add(-4 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, name(1, 0)), old, old); err != nil {
		t.Fatal(err)
	}
	w, past := open(t, dir)
	w.Close(false)
	if len(past) != 1 || len(past[0].Records) != 6 || past[0].Age > time.Hour {
		t.Errorf("not all 6 records of one journal are read: %d journals", len(past))
	}
	if err := os.Chtimes(filepath.Join(dir, name(1, 1)), old, old); err != nil {
		t.Fatal(err)
	}
	if _, past = open(t, dir); len(past) != 1 || past[0].Process != 2 { // that of the reader above, which is empty
		t.Errorf("of a journal whose newest record is old something is read: %d journals", len(past))
	}
}

func BenchmarkAppend(b *testing.B) {
	w, _ := open(b, b.TempDir())
	data := make([]byte, 60)
	b.ReportAllocs()
	for b.Loop() {
		w.Append('a', data)
		if w.Turn() {
			w.Keep(1 << 30)
		}
	}
}
