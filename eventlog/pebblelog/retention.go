package pebblelog

import "context"

func (e *Engine) retain(ctx context.Context) { <-ctx.Done() }
