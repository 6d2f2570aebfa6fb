package capacity

import "time"

// cells is a minute, one second because what is counted in a second that has begun may be of any moment in it, and two more
// because requests do not take equally long to reach the upstream, which counts them when they arrive: what is sent a minute
// apart must not arrive closer.
const cells = 63

// Rest is how long a permit that was used rests at most.
const Rest = cells * time.Second

// minute counts what happened in the last minute, by the second. No minute holds more than sum at its end.
type minute struct {
	sum  int64
	now  int64 // the newest second
	last int64 // the newest second with anything in it
	cell [cells]int64
}

// advance forgets what has rested.
func (m *minute) advance(to int64) {
	for steps := min(to-m.now, cells); steps > 0; steps-- {
		oldest := &m.cell[(to-steps+1)%cells]
		m.sum -= *oldest
		*oldest = 0
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
	if m.now-second >= cells {
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
	for second := m.now - cells + 1; second <= m.now; second++ {
		if sum+n <= limit {
			return second + cells - 1
		}
		if second >= 0 {
			sum -= m.cell[second%cells]
		}
	}
	return m.now + cells
}
