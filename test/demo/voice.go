package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// voice is the only one who writes to the terminal: lines with the time and a word for what they are about.
type voice struct {
	mu  sync.Mutex // makes lines whole
	out io.Writer
}

const (
	width = 110
	clock = "15:04:05"
)

// line says one thing, over several lines if it must. about is one word; none sets the line off from all others.
func (v *voice) line(about, format string, args ...any) {
	head := time.Now().Format(clock) + "  "
	if about != "" {
		head += fmt.Sprintf("%-8s  ", about)
	}
	v.text(wrap(head, fmt.Sprintf(format, args...)))
}

// text says it as it stands.
func (v *voice) text(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = io.WriteString(v.out, text) // a terminal that is gone needs no words
}

// wrap breaks a text between words, and puts what follows under where it began, behind the head.
func wrap(head, text string) string {
	var b strings.Builder
	b.WriteString(head)
	indent := utf8.RuneCountInString(head)
	column := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	b.WriteByte('\n')
	return b.String()
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}

// when names a time as people do: today's without its date.
func when(t, now time.Time) string {
	t = t.Local()
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.Format("2 Jan 15:04")
	}
	return t.Format(clock)
}
