package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// bench is one run: the upstream, the subjects that have been needed so far, and what was measured.
type bench struct {
	options
	dir      string // of everything that is written meanwhile; removed at the end
	cores    cores
	files    int    // that a process may have open
	upstream string // its address
	key      string // that the upstream knows, for those who have one only
	provider *process
	subjects map[string]*subject // nil: it cannot be had here
	opened   []*subject          // in this order
	leftOut  []string
	progress io.Writer
}

// openBench starts the upstream. Proxies are started when a point needs them.
func openBench(ctx context.Context, o options, progress io.Writer) (*bench, error) {
	c, err := takeCores()
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, cores: c, key: newKey("fixed"), subjects: map[string]*subject{}, progress: progress}
	if c.proxy == noCore {
		b.leaveOut("cores: there is one only, so everything shares it and no figure is worth much")
	}
	if b.files, err = raiseFiles(); err != nil {
		return nil, err
	}
	if b.upstream, err = freeAddr(); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "apipool-bench-"); err != nil {
		return nil, err
	}
	if err := b.openUpstream(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) openUpstream(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.provider, err = program{
		name: pretended, core: b.cores.rest, dir: b.dir, args: []string{self, serving, pretended, b.upstream},
	}.start()
	if err != nil {
		return err
	}
	return b.provider.listening(ctx, b.upstream)
}

// close stops all that was started, the last first: a data plane gives its lease back.
func (b *bench) close() {
	for _, s := range slices.Backward(b.opened) {
		s.stop()
	}
	for _, s := range b.opened {
		if s.fleet != nil {
			s.fleet.control.stop()
		}
	}
	b.provider.stop()
	_ = os.RemoveAll(b.dir)
}

func (b *bench) leaveOut(what string) {
	if !slices.Contains(b.leftOut, what) {
		b.leftOut = append(b.leftOut, what)
	}
}

// raiseFiles lets this process and its children open as many files as they may. Setting it by hand is what makes Go pass it on.
func raiseFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(min(limit.Cur, 1<<16)), nil
}

// subject answers a subject that is running; nil: it cannot be had here.
func (b *bench) subject(ctx context.Context, name string) (*subject, error) {
	s, known := b.subjects[name]
	if !known {
		var err error
		if s, err = b.open(ctx, name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		b.subjects[name] = s
		if s != nil {
			b.opened = append(b.opened, s)
		}
	}
	if s == nil {
		return nil, nil
	}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func (b *bench) open(ctx context.Context, name string) (*subject, error) {
	switch name {
	case direct:
		return b.directSubject(), nil
	case hand, reverse:
		return b.bareSubject(name)
	case nginx:
		s, err := b.nginxSubject()
		if s == nil {
			b.leaveOut("nginx: it is not installed (test/deps.sh bench)")
		}
		return s, err
	}
	for _, n := range append([]int{0, b.pool}, b.keys...) {
		if name == poolName(n) {
			return b.poolSubject(ctx, n)
		}
	}
	return nil, errors.New("nobody is called that")
}

// run measures every point of every subject, and then all of it again, round after round. So what changes on the machine
// meanwhile falls on all of them.
func (b *bench) run(ctx context.Context, points []point) (results, error) {
	all := results{}
	for round := range b.rounds {
		for _, p := range points {
			if p.files > b.files {
				b.leaveOut(fmt.Sprintf("%s: it needs %d open files and %d are allowed (ulimit -Hn)", p.name, p.files, b.files))
				continue
			}
			for _, name := range p.subjects {
				s, err := b.subject(ctx, name)
				if err != nil {
					return nil, err
				}
				if s == nil {
					continue
				}
				begun := time.Now()
				f, err := p.measure(ctx, b, s)
				switch {
				case ctx.Err() != nil:
					return nil, fmt.Errorf("stopped before the end: %w", context.Cause(ctx))
				case err != nil:
					return nil, fmt.Errorf("%s, %s: %w%s", p.name, name, err, s.lastWords())
				}
				all.add(p.name, name, f)
				fmt.Fprintf(b.progress, "round %d of %d  %-10s %-18s %4.1f s\n", round+1, b.rounds, p.name, name, time.Since(begun).Seconds())
			}
		}
	}
	return all, nil
}
