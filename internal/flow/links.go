package flow

import (
	"context"
	"slices"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/flowindex"
)

// addLinks adds what leads to other flows.
func (g *graph) addLinks(ctx context.Context, _ []flowindex.Key) error {
	for i := range g.events {
		e := &g.events[i]
		if e.rec != nil {
			for _, ref := range e.rec.Meta.Causes {
				if _, ok := g.byRef[ref]; ok {
					continue
				}
				l := tandem.FlowLink{Node: e.node.ID, Kind: tandem.FlowCause, Ref: ref}
				if id, ok := flowindex.ParseRef(ref); ok {
					flow, place, ok, err := g.f.index.Find(id)
					if err != nil {
						return errIndex(err)
					}
					if ok {
						if l.Flow, err = g.f.flowAt(ctx, flow, place); err != nil {
							return err
						}
						l.Position = g.f.position(place)
					}
				}
				g.flow.Links = append(g.flow.Links, l)
			}
		}
		effects, err := g.f.index.Effects(e.Ref, maxEffects)
		if err != nil {
			return errIndex(err)
		}
		if len(effects) == maxEffects {
			g.lack("%s has more than %d effects in other flows", e.node.ID, maxEffects)
		}
		for _, p := range effects {
			if slices.ContainsFunc(g.events, func(e event) bool { return e.Place == p }) {
				continue
			}
			l := tandem.FlowLink{Node: e.node.ID, Kind: tandem.FlowEffect, Position: g.f.position(p)}
			rec, err := g.f.read(ctx, p)
			if err != nil {
				return err
			}
			if rec != nil {
				l.Flow, l.Ref = rec.Meta.Flow, tandem.Ref(rec.Position.Topic, rec.Source, rec.ID)
			}
			g.flow.Links = append(g.flow.Links, l)
		}
	}
	return nil
}

func (f *Flows) position(p flowindex.Place) tandem.Position {
	return tandem.Position{Topic: f.index.TopicName(p.Topic), Partition: p.Partition, Offset: p.Offset}
}

// flowAt returns the id of a flow that an event is of, as the event says it while it is stored.
func (f *Flows) flowAt(ctx context.Context, key flowindex.Key, p flowindex.Place) (string, error) {
	if _, ok := key.Time(); ok {
		return key.String(), nil
	}
	rec, err := f.read(ctx, p)
	if err != nil {
		return "", err
	}
	if rec != nil && rec.Meta.Flow != "" {
		return rec.Meta.Flow, nil
	}
	return key.String(), nil
}
