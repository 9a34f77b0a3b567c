package condition

import "github.com/tandem-hybrid/tandem"

// implied is a filter of the dialects exact, prefix, all and any that every event passes for which an expression is true, in the
// form of tandem.FilterOf. Nil is the one that everything passes: nothing is known.
type implied any

func impliedExact(attribute, value string) implied {
	if attribute == tandem.AttrCause {
		return nil // a filter looks at each cause for itself, an expression at all of them
	}
	return map[string]any{"exact": map[string]any{attribute: value}}
}

func impliedPrefix(attribute, value string) implied {
	if attribute == tandem.AttrCause {
		return nil
	}
	return map[string]any{"prefix": map[string]any{attribute: value}}
}

// impliedAll is for an expression that is true when all of its parts are.
func impliedAll(parts ...implied) implied {
	var all []any
	for _, p := range parts {
		if p != nil {
			all = append(all, p)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return map[string]any{"all": all}
}

// impliedAny is for an expression that is true when one of its parts is.
func impliedAny(parts ...implied) implied {
	var list []any
	for _, p := range parts {
		if p == nil {
			return nil
		}
		list = append(list, p)
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return map[string]any{"any": list}
}

// boundsOf is what an index needs of it. A filter that cannot be built, as for its size, bounds nothing.
func boundsOf(i implied) []tandem.Bound {
	if i == nil {
		return nil
	}
	f, err := tandem.FilterOf(i)
	if err != nil {
		return nil
	}
	return f.Bounds()
}
