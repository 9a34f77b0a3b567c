// Package offsetmap says where the events of one log lie in another one that they were copied to. The map is state records of that other log,
// so that it goes where its events go; a log that was filled from several, one after the other, has a map for each step.
//
//	migrated/run                              the copy into this log: from where, since when, whether it is finished (JSON)
//	migrated/log/LOG                          what came out of the log LOG: where it went, and how far it reached (JSON)
//	migrated/topic/LOG/TOPIC                  a topic of LOG: its name, its incarnation in the new log, bounds of its partitions (JSON)
//	migrated/map/LOG/TOPIC/PARTITION/OFFSET   pairs of offsets, up to the old offset that the key ends with (see chunk.go)
//
// All but the names of topics and of subscriptions is in hexadecimal of fixed width. Chunks are named by their last offset, so that the first
// key at or after an offset is of the chunk that has its place. Records are written once and never change, but for run and log.
package offsetmap
