package server

import (
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/xmlbody"
)

// statusLive is the state of a secondary that can be read.
const statusLive = "live"

// getServiceStats: Get Blob Service Stats. The secondary address shows the store itself and no copy of it, so it is live
// whenever it answers, and has everything that was written until now. What it is asked at the primary is an error there, as
// on Azure.
func (r *request) getServiceStats() error {
	if !r.target.secondary {
		return azerr.BadQuery("comp", "stats", "Statistics are told by the secondary endpoint.")
	}
	r.begin(200)
	r.xml(func(dst []byte) []byte { return xmlbody.AppendServiceStats(dst, statusLive, r.start) })
	return nil
}
