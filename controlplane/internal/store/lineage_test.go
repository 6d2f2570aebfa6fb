package store

import (
	"testing"

	"go.etcd.io/bbolt"
)

func TestALineageThatWasBegunLasts(t *testing.T) {
	o := initConfig(t)
	s := openConfig(t, o)
	first, cluster, revision := s.Lineage(), s.ClusterID(), s.Revision()
	if s = reopen(t, o, s); s.Lineage() != first {
		t.Fatal("a start alone changes the lineage")
	}
	if err := s.BeginLineage(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := s.Lineage()
	if second == first || second == [16]byte{} {
		t.Errorf("from %x to %x", first, second)
	}
	s = reopen(t, o, s)
	if s.Lineage() != second || s.ClusterID() != cluster || s.Revision() != revision {
		t.Errorf("after a start: lineage %x, want %x; cluster %q, revision %d", s.Lineage(), second, s.ClusterID(), s.Revision())
	}
	if err := s.BeginLineage(t.Context()); err != nil || s.Lineage() == second {
		t.Errorf("a second restore: %x, %v", s.Lineage(), err)
	}
}

func TestALineageThatIsNoneIsRefused(t *testing.T) {
	o := initConfig(t)
	edit(t, o, func(b *bbolt.Tx) error { return b.Bucket([]byte(bucketMeta)).Put([]byte(metaBranch), []byte("short")) })
	if s, err := Open(o); err == nil {
		_ = s.Close()
		t.Error("opened")
	}
}
