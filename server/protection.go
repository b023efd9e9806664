package server

import (
	"strconv"

	"pagevault/blobstore"
	"pagevault/blobstore/immutable"
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/cond"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/xmlbody"
)

// policy reads an immutability policy from the request. Without its time there is none, and then no mode may be given.
func (r *request) policy() (p immutable.Policy, given bool, err error) {
	mode := header.XMsImmutabilityPolicyMode
	v := r.headers.Get(mode)
	switch {
	case !r.headers.Has(mode), header.EqualFold(v, immutable.Unlocked.String()):
		p.Mode = immutable.Unlocked
	case header.EqualFold(v, immutable.Locked.String()):
		p.Mode = immutable.Locked
	default:
		return p, false, azerr.BadHeader(mode.String(), string(v))
	}
	until := header.XMsImmutabilityPolicyUntilDate
	if !r.headers.Has(until) {
		if r.headers.Has(mode) {
			return p, false, azerr.MissingHeader(until.String())
		}
		return immutable.Policy{}, false, nil
	}
	var ok bool
	if p.Until, ok = header.ParseTime(r.headers.Get(until)); !ok {
		return p, false, azerr.BadHeader(until.String(), r.headers.String(until))
	}
	return p, true, nil
}

// protection reads what a blob that is made is to be protected by.
func (r *request) protection() (p blobstore.Protection, err error) {
	if p.Policy, _, err = r.policy(); err != nil {
		return p, err
	}
	p.Hold, err = header.Bool(&r.headers, header.XMsLegalHold)
	return p, err
}

// setImmutabilityPolicy: Set Blob Immutability Policy.
func (r *request) setImmutabilityPolicy() error {
	ref, err := r.ref()
	if err != nil {
		return err
	}
	p, given, err := r.policy()
	if err != nil {
		return err
	}
	if !given {
		return azerr.MissingHeader(header.XMsImmutabilityPolicyUntilDate.String())
	}
	conditions, err := cond.ParseDates(&r.headers)
	if err != nil {
		return err
	}
	if err := r.account.SetImmutabilityPolicy(ref, &conditions, p); err != nil {
		return err
	}
	r.begin(200)
	r.setProtection(&immutable.State{Policy: p})
	return nil
}

// deleteImmutabilityPolicy: Delete Blob Immutability Policy.
func (r *request) deleteImmutabilityPolicy() error {
	ref, err := r.ref()
	if err != nil {
		return err
	}
	if err := r.account.DeleteImmutabilityPolicy(ref); err != nil {
		return err
	}
	r.begin(200)
	return nil
}

// setLegalHold: Set Blob Legal Hold.
func (r *request) setLegalHold() error {
	ref, err := r.ref()
	if err != nil {
		return err
	}
	if !r.headers.Has(header.XMsLegalHold) {
		return azerr.MissingHeader(header.XMsLegalHold.String())
	}
	hold, err := header.Bool(&r.headers, header.XMsLegalHold)
	if err != nil {
		return err
	}
	if err := r.account.SetLegalHold(ref, hold); err != nil {
		return err
	}
	r.begin(200)
	r.setString("x-ms-legal-hold", strconv.FormatBool(hold))
	return nil
}

// setProtection says what protects a blob.
func (r *request) setProtection(s *immutable.State) {
	if s.Policy.Mode != immutable.None {
		r.setTime("x-ms-immutability-policy-until-date", s.Policy.Until)
		r.setString("x-ms-immutability-policy-mode", s.Policy.Mode.String())
	}
	if s.Hold {
		r.setString("x-ms-legal-hold", "true")
	}
}

// listMarks adds to an entry of a list the blob's tier, and what protects it if the client asked for that.
func (r *request) listMarks(x *xmlbody.Blob, b *blobstore.BlobInfo, in *include) {
	tier, inferred := r.account.ShownTier(b)
	x.Tier = xmlbody.Tier{Name: tier.String(), Inferred: inferred}
	if tier != 0 && !inferred {
		x.Tier.Changed = b.TierChanged
	}
	if in.policy {
		x.Policy = xmlbody.Policy{Mode: b.Protection.Policy.Mode.String(), Until: b.Protection.Policy.Until}
	}
	x.LegalHold = in.hold && b.Protection.Hold
}
