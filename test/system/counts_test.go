package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// A commit whose acknowledgement is lost is not counted again, whichever way the node finds out.
func TestAnAcknowledgementThatIsLostAfterTheCommitCountsNothingTwice(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("ack")
		sent := 0
		ask := func() {
			t.Helper()
			sent++
			if got := c.chat("eu-1", token, fmt.Sprint("r", sent), false); !got.ok() {
				t.Fatalf("request %d: %v", sent, got)
			}
		}
		want := func(when string) {
			t.Helper()
			if f := c.stats(); int(f.TotalRequests) != sent || int(f.UpstreamAttempts) != sent {
				t.Errorf("%s: counted %v requests and %v attempts, the client sent %d", when, f.TotalRequests, f.UpstreamAttempts, sent)
			}
		}
		for range 3 {
			ask()
			c.net.deafen("eu-1", "control")
			ask()
			time.Sleep(3 * time.Second)
			want("committed, and the acknowledgement lost")
			ask()
			c.net.sever("eu-1", "control")
			c.net.mend("eu-1", "control")
			c.settle()
			want("after the cut")
		}
		c.net.deafen("eu-1", "control") // and for longer than a heartbeat is waited for
		ask()
		time.Sleep(time.Minute)
		ask()
		c.net.mend("eu-1", "control")
		time.Sleep(time.Minute)
		want("after a minute of answers lost")
	})
}

// copyFolder copies a plane's folder, whose files only their owner may read.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(to, "*"))
	for _, f := range files {
		if err := os.Chmod(f, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What a backup does not know is lost; what follows is counted, and nothing spins.
func TestAfterABackupIsRestoredNewCountsCount(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("restore")
		sent := 0
		ask := func(times int) {
			t.Helper()
			for range times {
				sent++
				if got := c.chat("eu-1", token, fmt.Sprint("r", sent), false); !got.ok() {
					t.Fatalf("request %d: %v", sent, got)
				}
				time.Sleep(2 * time.Second)
			}
			c.settle()
		}
		ask(2)
		c.stopControl()
		data, backup := filepath.Join(c.dir, "control"), filepath.Join(c.dir, "backup")
		copyFolder(t, data, backup)
		c.startControl()
		time.Sleep(15 * time.Second)
		ask(3) // confirmed, and then lost
		c.stopControl()
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(backup, data); err != nil {
			t.Fatal(err)
		}
		ask(1) // waits at the node
		c.startControl()
		time.Sleep(15 * time.Second)
		ask(2)
		time.Sleep(15 * time.Second)
		if f := c.stats(); f.TotalRequests != 5 || f.UpstreamAttempts != 5 {
			t.Errorf("counted %v requests and %v attempts; the backup held 2, and 3 followed", f.TotalRequests, f.UpstreamAttempts)
		}
		c.restored = 1
		if n := strings.Count(c.logs.String(), "counts are lost"); n == 0 || n > 2 {
			t.Errorf("the node said %d times what was lost", n)
		}
	})
}
