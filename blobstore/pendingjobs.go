package blobstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pagevault/internal/azure/azerr"
	"pagevault/pagestore"
)

// errAccountGoes ends a copy from or to an account that is being removed.
var errAccountGoes = errors.New("the account is being removed")

// pendings are the pending copies that this process carries out.
type pendings struct {
	sync.Mutex
	jobs   map[string]*pendingJob // by the id of the copy
	ended  bool                   // no more are taken
	worker sync.WaitGroup
}

func (p *pendings) has(id string) bool {
	p.Lock()
	defer p.Unlock()
	return p.jobs[id] != nil
}

// add takes up a job. It returns false if there are too many.
func (p *pendings) add(job *pendingJob) bool {
	p.Lock()
	defer p.Unlock()
	if p.ended || len(p.jobs) >= pendingCopiesMax {
		return false
	}
	if p.jobs == nil {
		p.jobs = make(map[string]*pendingJob)
	}
	p.jobs[job.id] = job
	p.worker.Add(1)
	return true
}

func (p *pendings) remove(job *pendingJob) {
	job.cancel(nil)
	p.Lock()
	delete(p.jobs, job.id)
	p.Unlock()
	p.worker.Done()
	job.leave()
}

// endFor has those fail that are from or to an account which is being removed. It does not wait.
func (p *pendings) endFor(a *Account) {
	p.Lock()
	defer p.Unlock()
	for _, job := range p.jobs {
		if job.to == a || job.from == a {
			job.cancel(errAccountGoes)
		}
	}
}

// stop ends all of them where they are and waits. Their rows say that they are pending still.
func (p *pendings) stop() {
	p.Lock()
	p.ended = true
	for _, job := range p.jobs {
		job.cancel(nil)
	}
	p.Unlock()
	p.worker.Wait()
}

// pendingJob is a pending copy.
type pendingJob struct {
	id        string
	ref       BlobRef
	container containerID
	source    CopySource
	to, from  *Account // which stay as long as it is carried out; from is nil if the source is elsewhere
	size      int64
	whole     bool // all of the content is read: the source lists no pages
	anew      bool // the destination may have pages, which go before any are written
	started   time.Time
	ctx       context.Context
	cancel    context.CancelCauseFunc
}

// stay keeps the accounts that the job uses from being removed, until leave.
func (job *pendingJob) stay() {
	job.to.Stay()
	if job.from != nil {
		job.from.Stay()
	}
}

func (job *pendingJob) leave() {
	job.to.Leave()
	if job.from != nil {
		job.from.Leave()
	}
}

// unwanted reports whether one of the accounts is being removed, so that a job which begins now would miss endFor.
func (job *pendingJob) unwanted() bool {
	return job.to.gate.closing() || job.from != nil && job.from.gate.closing()
}

// newPending takes up a copy, of a request that has entered the accounts it is from and to.
func (a *Account) newPending(ref *BlobRef, source CopySource, size int64) (*pendingJob, error) {
	id, err := newGUID(a.rand)
	if err != nil {
		return nil, coded(err)
	}
	job := &pendingJob{id: id, ref: *ref, source: source, to: a, size: size, started: a.clock.Now()}
	if s, ok := source.(interface{ account() *Account }); ok {
		job.from = s.account()
	}
	job.ctx, job.cancel = context.WithCancelCause(a.reaper.ctx)
	job.stay()
	if !a.pendings.add(job) {
		job.cancel(nil)
		job.leave()
		return nil, azerr.ServerBusy
	}
	if job.unwanted() {
		a.pendings.remove(job)
		return nil, azerr.ServerBusy
	}
	return job, nil
}

// runPending starts the goroutine of a job whose row is there, unless err says that it is not.
func (a *Account) runPending(job *pendingJob, err error) error {
	if err != nil {
		a.pendings.remove(job)
		if errors.Is(err, pagestore.ErrUnavailable) { // the row may be on its way
			a.copies.unsure.Store(true)
			a.reaper.kick()
		}
		return err
	}
	go func() {
		err := a.fillPending(job)
		switch cause := context.Cause(job.ctx); {
		case err == nil || errors.Is(err, errCopyGone):
		case cause == nil:
			err = a.endPending(job, CopyFailed, describe(err))
		case cause == errAccountGoes:
			err = a.endPending(job, CopyFailed, accountWent)
		}
		a.pendings.remove(job)
		if err != nil && !a.reaper.stopping() {
			a.copies.unsure.Store(true)
			a.reaper.kick() // it ends what could not be ended here
		}
	}()
	return nil
}

// describe says in the protocol's way why a copy failed.
func describe(err error) string {
	e := azerr.From(err)
	text := e.Text
	if text == "" {
		text = e.Code.Message()
	}
	return fmt.Sprintf("%d %s %q", e.HTTPStatus(), e.Code.Wire(), text)
}
