package capacity

import "time"

// A permit that was used rests for a minute, and one second more because what is counted in a second that has begun may be of any
// moment in it. A permit of an upstream key rests two further seconds, because requests do not take equally long to reach the
// upstream, which counts them when they arrive: what is sent a minute apart must not arrive closer.
const (
	rest    = 61
	keyRest = 63
	cells   = keyRest
)

// Rest is how long a permit that was used rests at most.
const Rest = keyRest * time.Second

// minute counts what happened in the last minute, by the second. No minute holds more than sum at its end.
type minute struct {
	rest int64 // seconds, at most cells
	sum  int64
	now  int64 // the newest second
	last int64 // the newest second with anything in it
	cell [cells]int64
}

// newMinute begins at a second.
func newMinute(k Kind, second int64) *minute {
	m := &minute{rest: keyRest, now: second}
	if k == Token {
		m.rest = rest
	}
	return m
}

// advance forgets what has rested.
func (m *minute) advance(to int64) {
	for second := max(m.now+1, to-2*m.rest); second <= to; second++ {
		if gone := second - m.rest; gone >= 0 {
			m.sum -= m.cell[gone%cells]
			m.cell[gone%cells] = 0
		}
	}
	m.now = max(m.now, to)
}

func (m *minute) add(second, n int64) {
	if n == 0 {
		return
	}
	m.cell[second%cells] += n
	m.sum += n
	m.last = second
}

// takeBack undoes a part of what was added in a second, unless that is forgotten already.
func (m *minute) takeBack(second, n int64) {
	if m.now-second >= m.rest {
		return
	}
	c := &m.cell[second%cells]
	n = min(n, *c)
	*c -= n
	m.sum -= n
}

// fits answers the second in which n more will fit under limit, if nothing else comes.
func (m *minute) fits(n, limit int64) int64 {
	sum := m.sum
	for second := m.now - m.rest + 1; second <= m.now; second++ {
		if sum+n <= limit {
			return second + m.rest - 1
		}
		if second >= 0 {
			sum -= m.cell[second%cells]
		}
	}
	return m.now + m.rest
}
