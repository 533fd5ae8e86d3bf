"""Model archives (.mar) with drift monitoring in them, the same bytes from the same inputs."""
