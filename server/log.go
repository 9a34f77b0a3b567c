package server

import (
	"log"
	"log/slog"
)

// serverLog lets net/http log through slog, at a level that fits what it reports: clients that break off.
func serverLog(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }
