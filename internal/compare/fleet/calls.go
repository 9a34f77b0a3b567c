package fleet

import (
	"context"
	"encoding/json"
	"sync"
)

// Calls returns a reporter whose vehicles each post to http://addr + path + their name, over a connection that is kept.
func Calls(addr, path string, vehicles int) Reporter {
	c := &calls{path: path, vehicles: make([]calling, vehicles)}
	for i := range c.vehicles {
		c.vehicles[i].caller = caller{addr: addr, wire: &c.wire}
	}
	return c
}

type calls struct {
	wire
	path     string
	vehicles []calling
}

type calling struct {
	mu     sync.Mutex // guards what follows
	caller caller
}

func (c *calls) Report(ctx context.Context, vehicle int, r Report) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	v := &c.vehicles[vehicle]
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.caller.post(ctx, c.path+Name(vehicle), "application/json", body)
}

func (c *calls) Close() {
	for i := range c.vehicles {
		v := &c.vehicles[i]
		v.mu.Lock()
		v.caller.close()
		v.mu.Unlock()
	}
}
