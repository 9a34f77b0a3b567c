// Package fleet is vehicles that report where they are: each over a connection of its own, by HTTP calls or over one WebSocket, or through
// gateways that gather what many vehicles report and send it together. Whether a service or Tandem takes the calls they cannot know.
package fleet
