package ops

// A run that is cancelled leaves out the parts of a task that have not begun. The
// least that some operators can do at a time takes long all the same: one window of
// a pool has up to 2²⁴ elements, one row to sort any number. Such a part asks on its
// way whether anybody still waits for the result, and else returns without one.

// paceWork is the work between two questions, in steps of a nanosecond or a few.
const paceWork = 1 << 20

// paceBlock is the number of steps that the shortest loops take before they are
// noted, which would cost as much as the step.
const paceBlock = 1 << 12

// A pace says when to ask. It belongs to one part, or to a Bind.
type pace struct {
	stopped func() bool
	left    int
}

func (m *Memory) pace() pace { return pace{m.Stopped, paceWork} }

// over notes so many steps of work and reports whether it is time to give up.
func (p *pace) over(steps int) bool {
	if p.left -= steps; p.left > 0 {
		return false
	}
	p.left = paceWork
	return p.stopped != nil && p.stopped()
}
