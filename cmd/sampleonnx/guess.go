package main

import (
	"fmt"
	"maps"
	"strings"

	"sampleonnx/cmd/sampleonnx/internal/card"
)

// guess is a card that differs from the given one in a convention.
type guess struct {
	name string
	card *card.Card
	sign float64
	// The network's data are scale·x + shift.
	scale, shift float64
}

// with is the card with some keys set; ok is false where such a card makes no sense.
func (g guess) with(settings ...string) (guess, bool) {
	c := *g.card
	c.From = maps.Clone(g.card.From)
	var names []string
	for _, kv := range settings {
		key, value, _ := strings.Cut(kv, "=")
		if c.SetText(key, value, card.Source{Rank: card.Flag, Name: "probe"}) != nil {
			return g, false
		}
		names = append(names, kv)
	}
	g.card = &c
	g.name = strings.TrimPrefix(g.name+", "+strings.Join(names, ", "), ", ")
	return g, supported(&c) == nil && c.Check() == nil
}

// outputs are other meanings of the network's output.
func (g guess) outputs() []guess {
	var list []guess
	add := func(settings ...string) {
		if other, ok := g.with(settings...); ok && g.card.Output != other.card.Output {
			list = append(list, other)
		}
	}
	for _, output := range card.Outputs() {
		switch {
		case output == "D": // is x0
		case output == "x0" && g.card.Output == "D":
		case output == "edm_F" && isVE(g.card) && !g.card.Has("sigma_data"):
			add("output=edm_F", "sigma_data=0.5")
		case output == "v" && isVE(g.card) && g.card.CIn == "":
			add("output=v", "c_in=vp")
		default:
			add("output=" + output)
		}
	}
	return list
}

// times are other things that the network could be told as time.
func (g guess) times() []guess {
	if g.card.TimeKind == "none" {
		return nil
	}
	var list []guess
	add := func(settings ...string) {
		other, ok := g.with(settings...)
		if ok && (other.card.TimeKind != g.card.TimeKind || other.card.TimeScale != g.card.TimeScale) {
			list = append(list, other)
		}
	}
	integer := strings.HasPrefix(g.card.TimeDType, "int")
	for _, kind := range card.TimeKinds() {
		switch {
		case kind == "none":
		case kind == "t_scaled":
			add("time_kind=t_scaled", "time_scale=999")
			add("time_kind=t_scaled", "time_scale=1000")
		case integer && !strings.HasPrefix(kind, "index"):
		default:
			add("time_kind=" + kind)
		}
	}
	return list
}

// processes are the other sign and the other of Song et al.'s processes.
func (g guess) processes() []guess {
	opposite := g
	opposite.name, opposite.sign = strings.TrimPrefix(g.name+", the opposite sign", ", "), -g.sign
	list := []guess{opposite}
	for _, sde := range []string{"vp", "subvp"} {
		if g.card.SDE != sde && (g.card.SDE == "vp" || g.card.SDE == "subvp") {
			if other, ok := g.with("sde=" + sde); ok {
				list = append(list, other)
			}
		}
	}
	return list
}

// rescaled are the ranges to and from which images are often scaled. Without one on the card it is the data as given that have each of them.
func (g guess) rescaled() []guess {
	var list []guess
	ranges := [][2]float64{{0, 1}, {-1, 1}, {0, 255}, {-0.5, 0.5}}
	for _, to := range ranges {
		for _, from := range ranges {
			name := fmt.Sprintf("data on [%g, %g] that are now on [%g, %g]", to[0], to[1], from[0], from[1])
			if len(g.card.Range) == 2 {
				from, name = [2]float64(g.card.Range), fmt.Sprintf("range=%g,%g", to[0], to[1])
			}
			if from == to {
				continue
			}
			other := g
			other.name = strings.TrimPrefix(g.name+", "+name, ", ")
			other.scale = (to[1] - to[0]) / (from[1] - from[0])
			other.shift = to[0] - other.scale*from[0]
			list = append(list, other)
			if len(g.card.Range) == 2 {
				break
			}
		}
	}
	return list
}
