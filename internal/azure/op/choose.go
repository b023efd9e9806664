package op

import (
	"pagevault/internal/azure/azerr"
	"pagevault/internal/azure/header"
	"pagevault/internal/azure/query"
)

// choose returns the operation among those that share r's level, method, restype and comp: r is the first of them in
// the table.
func choose(r *Row, q *query.Set, h *header.Set) (*Row, error) {
	fromURL := h.Has(header.XMsCopySource)
	switch r.ID {
	case PutPage:
		return choosePage(fromURL, h)
	case PutPageBlob:
		return choosePut(fromURL, h)
	case GetPageRanges:
		if q.Has("prevsnapshot") || h.Has(header.XMsPreviousSnapshotURL) {
			return row(GetPageRangesDiff), nil
		}
	case PutBlock:
		if fromURL {
			return row(PutBlockFromURL), nil
		}
	case AppendBlock:
		if fromURL {
			return row(AppendBlockFromURL), nil
		}
	}
	return r, nil
}

// choosePage tells the page writes apart.
func choosePage(fromURL bool, h *header.Set) (*Row, error) {
	v := h.Get(header.XMsPageWrite)
	switch {
	case !h.Has(header.XMsPageWrite):
		return nil, azerr.MissingHeader(header.XMsPageWrite.String())
	case header.EqualFold(v, "update") && fromURL:
		return row(PutPageFromURL), nil
	case header.EqualFold(v, "update"):
		return row(PutPage), nil
	case header.EqualFold(v, "clear") && !fromURL:
		return row(ClearPages), nil
	}
	return nil, azerr.BadHeader(header.XMsPageWrite.String(), string(v))
}

// choosePut tells apart what PUT of a blob without comp can be.
func choosePut(fromURL bool, h *header.Set) (*Row, error) {
	kind := h.Get(header.XMsBlobType)
	hasKind := h.Has(header.XMsBlobType)
	switch {
	case fromURL && !hasKind:
		sync, err := header.Bool(h, header.XMsRequiresSync)
		if err != nil {
			return nil, err
		}
		if sync {
			return row(CopyBlobFromURL), nil
		}
		return row(CopyBlob), nil
	case !hasKind:
		return nil, azerr.MissingHeader(header.XMsBlobType.String())
	case header.EqualFold(kind, "blockblob") && fromURL:
		return row(PutBlobFromURL), nil
	case header.EqualFold(kind, "blockblob"):
		return row(PutBlockBlob), nil
	case header.EqualFold(kind, "pageblob") && !fromURL:
		return row(PutPageBlob), nil
	case header.EqualFold(kind, "appendblob") && !fromURL:
		return row(PutAppendBlob), nil
	}
	return nil, azerr.BadHeader(header.XMsBlobType.String(), string(kind))
}
