package operation

// Prefix begins the keys of all state records of this package. They can be copied to another log as they are: they name topics and operations, and
// of places they hold cursors only, which a log translates that events were copied to.
const Prefix = "op/"
