package plan

import (
	"context"

	"sampleonnx/onnxrun/internal/ops"
)

// foldLimit bounds the memory that computing a node ahead of time may take: a
// small file can ask for a huge constant.
const foldLimit = 1 << 28

// fold is the outputs of a node whose values are known at compile time; nil
// when they would be too large to keep. reserve is asked for the memory first, what is
// kept and what is worked in. It panics where the kernels do.
func fold(ctx context.Context, k *ops.Kernel, in []ops.Arg, reserve func(kept, working int64) error) ([]*ops.Tensor, error) {
	out, fill, err := folded(ctx, k, in, reserve)
	if fill == nil || err != nil {
		return out, err
	}
	if err := fill(); err != nil {
		return nil, err
	}
	return out, nil
}

// folded is fold in two steps: the outputs have no values before fill is called,
// and take no memory of the machine's as long as nobody writes to them. A nil fill
// says that they have.
func folded(ctx context.Context, k *ops.Kernel, in []ops.Arg, reserve func(kept, working int64) error) (_ []*ops.Tensor, fill func() error, err error) {
	kept := int64(0)
	for _, t := range k.Out {
		kept += int64(t.Bytes())
	}
	if k.Const != nil {
		return k.Const, nil, reserve(kept, 0)
	}
	tensors := make([]*ops.Tensor, len(in))
	for i := range in {
		tensors[i] = in[i].Const
	}
	if k.View {
		return []*ops.Tensor{tensors[0].As(k.Out[0])}, nil, nil
	}
	working := int64(ops.ScratchBytes(k, 1)) + int64(k.Tables)
	if kept+working > foldLimit {
		return nil, nil, nil
	}
	if err := reserve(kept, working); err != nil {
		return nil, nil, err
	}
	out := make([]*ops.Tensor, len(k.Out))
	for i, t := range k.Out {
		out[i] = ops.New(t)
	}
	return out, func() error {
		scratch := ops.AlignedBytes(ops.ScratchBytes(k, 1))
		room := ops.NewMemory(k, tensors, out, scratch, 1)
		room.Stopped = func() bool { return ctx.Err() != nil }
		for _, task := range k.Bind(room) {
			for part := range task.Parts {
				if err := stopped(ctx); err != nil {
					return err
				}
				task.Run(part, 0)
			}
		}
		return stopped(ctx) // the last part may not have come to its end
	}, nil
}

// later holds constants that are large and that nobody has read yet. A small file
// can ask for any number of them: that they are too many together is known from
// their shapes, before the first one is filled.
type later struct {
	of    map[*ops.Tensor]*pending
	queue []*pending
}

type pending struct{ fill func() error }

// fillNow is the size in bytes of what is not worth putting off.
const fillNow = 1 << 20

// add puts a node's outputs off, or fills them when they are small.
func (l *later) add(out []*ops.Tensor, fill func() error) error {
	bytes := 0
	for _, t := range out {
		bytes += t.Bytes()
	}
	if bytes <= fillNow {
		return fill()
	}
	if l.of == nil {
		l.of = map[*ops.Tensor]*pending{}
	}
	p := &pending{fill}
	for _, t := range out {
		l.of[t] = p
	}
	l.queue = append(l.queue, p)
	return nil
}

// fill makes the values of a constant that somebody reads now.
func (l *later) fill(t *ops.Tensor) error {
	if p := l.of[t]; p != nil {
		return p.once()
	}
	return nil
}

// fillAll makes the values of all that are left.
func (l *later) fillAll() error {
	for _, p := range l.queue {
		if err := p.once(); err != nil {
			return err
		}
	}
	return nil
}

func (p *pending) once() error {
	fill := p.fill
	if p.fill = nil; fill == nil {
		return nil
	}
	return fill()
}
