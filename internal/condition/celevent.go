package condition

import (
	"reflect"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"

	"github.com/tandem-hybrid/tandem"
)

// activation is what one evaluation sees: event and data.
type activation struct {
	c     *Compiler
	e     *tandem.Event
	event *celEvent // nil until it is asked for, as data
	data  ref.Val
}

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		if a.event == nil {
			a.event = &celEvent{e: a.e}
		}
		return a.event, true
	case "data":
		if a.data == nil {
			a.data = a.c.data(a.e)
		}
		return a.data, true
	}
	return nil, false
}

func (a *activation) Parent() interpreter.Activation { return nil }

// celEvent is the attributes of an event as a map of CEL. What expressions mostly do, to select one, looks at the event itself;
// all else is left to a map that is made of it.
type celEvent struct {
	e   *tandem.Event
	all traits.Mapper // that map, once it was needed
}

var _ traits.Mapper = (*celEvent)(nil)

func (v *celEvent) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	return celAttribute(v.e, string(name))
}

func celAttribute(e *tandem.Event, name string) (ref.Val, bool) {
	if !tandem.ValidAttributeName(name) { // Attribute takes paths into the data as well
		return nil, false
	}
	for i := range e.Extensions {
		if x := &e.Extensions[i]; x.Name == name {
			switch x.Kind {
			case tandem.ExtensionInteger:
				if n, err := strconv.ParseInt(x.Value, 10, 64); err == nil {
					return types.Int(n), true
				}
			case tandem.ExtensionBoolean:
				return types.Bool(x.Value == "true"), true
			}
			return types.String(x.Value), true
		}
	}
	text, ok := e.Attribute(name)
	if ok && name == tandem.AttrHops {
		return types.Int(e.Meta.Hops), true
	}
	return types.String(text), ok
}

func (v *celEvent) Get(key ref.Val) ref.Val {
	if got, ok := v.Find(key); ok {
		return got
	}
	return types.NewErr("no such attribute")
}

func (v *celEvent) Contains(key ref.Val) ref.Val {
	_, ok := v.Find(key)
	return types.Bool(ok)
}

// whole returns all attributes as a map.
func (v *celEvent) whole() traits.Mapper {
	if v.all != nil {
		return v.all
	}
	all := map[ref.Val]ref.Val{}
	put := func(name string) {
		if got, ok := celAttribute(v.e, name); ok {
			all[types.String(name)] = got
		}
	}
	for _, name := range [...]string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema",
		tandem.AttrFlow, tandem.AttrCause, tandem.AttrOperation, tandem.AttrHops, tandem.AttrTraceParent, tandem.AttrTraceState} {
		put(name)
	}
	for i := range v.e.Extensions {
		put(v.e.Extensions[i].Name)
	}
	v.all = types.NewRefValMap(types.DefaultTypeAdapter, all)
	return v.all
}

func (v *celEvent) Iterator() traits.Iterator        { return v.whole().Iterator() }
func (v *celEvent) Size() ref.Val                    { return v.whole().Size() }
func (v *celEvent) Equal(other ref.Val) ref.Val      { return v.whole().Equal(other) }
func (v *celEvent) ConvertToType(t ref.Type) ref.Val { return v.whole().ConvertToType(t) }
func (v *celEvent) Type() ref.Type                   { return types.MapType }
func (v *celEvent) Value() any                       { return v.whole().Value() }

func (v *celEvent) ConvertToNative(t reflect.Type) (any, error) { return v.whole().ConvertToNative(t) }
