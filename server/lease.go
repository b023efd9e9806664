package server

import (
	"math"

	"pagevault/blobstore"
	"pagevault/blobstore/lease"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
)

// leaseBlob: Lease Blob.
func (r *request) leaseBlob() error {
	ref, err := r.ref()
	if err != nil {
		return err
	}
	req, err := r.leaseRequest()
	if err != nil {
		return err
	}
	conditions, err := cond.Parse(&r.headers)
	if err != nil {
		return err
	}
	done, stamp, err := r.account.LeaseBlob(ref, req, conditions)
	if err != nil {
		return err
	}
	r.replyLease(req.Action, &done, stamp)
	return nil
}

// leaseContainer: Lease Container.
func (r *request) leaseContainer() error {
	req, err := r.leaseRequest()
	if err != nil {
		return err
	}
	conditions, err := cond.ParseDates(&r.headers)
	if err != nil {
		return err
	}
	done, stamp, err := r.account.LeaseContainer(r.target.container, req, conditions)
	if err != nil {
		return err
	}
	r.replyLease(req.Action, &done, stamp)
	return nil
}

// leaseRequest reads what is asked for. Headers that the action does not use are not looked at, but for their form.
func (r *request) leaseRequest() (req lease.Request, err error) {
	h := &r.headers
	if !h.Has(header.XMsLeaseAction) {
		return req, azerr.MissingHeader(header.XMsLeaseAction.String())
	}
	action, ok := lease.ParseAction(h.String(header.XMsLeaseAction))
	if !ok {
		return req, azerr.BadHeader(header.XMsLeaseAction.String(), h.String(header.XMsLeaseAction))
	}
	req.Action = action
	if req.ID, err = header.LeaseID(h, header.XMsLeaseID); err != nil {
		return req, err
	}
	if req.Proposed, err = header.LeaseID(h, header.XMsProposedLeaseID); err != nil {
		return req, err
	}
	switch action {
	case lease.Acquire:
		seconds, given, err := header.Int(h, header.XMsLeaseDuration, math.MinInt32, math.MaxInt32)
		if err != nil {
			return req, err
		}
		if !given {
			return req, azerr.MissingHeader(header.XMsLeaseDuration.String())
		}
		req.Seconds = int(seconds)
	case lease.Break:
		period, given, err := header.Int(h, header.XMsLeaseBreakPeriod, math.MinInt32, math.MaxInt32)
		if err != nil {
			return req, err
		}
		req.Period, req.HasPeriod = int(period), given
	}
	return req, nil
}

// replyLease makes the reply, whose status depends on the action.
func (r *request) replyLease(action lease.Action, done *lease.Result, stamp blobstore.Stamp) {
	switch action {
	case lease.Acquire:
		r.begin(201)
	case lease.Break:
		r.begin(202)
	default:
		r.begin(200)
	}
	r.setStamp(stamp)
	if done.ID != "" {
		r.setString("x-ms-lease-id", done.ID)
	}
	if action == lease.Break {
		r.setInt("x-ms-lease-time", int64(done.TimeSeconds))
	}
}
