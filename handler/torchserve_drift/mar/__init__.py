"""Model archives (.mar) with drift monitoring in them: equal inputs give equal bytes."""
