"""What happens to an order once it is paid for: a pure function beside the checkout's saga.

facts.py      what is known of refunds, returns and disputes of one order
worth.py      what pieces of a line are worth, to the unit
turn.py       the vocabulary to change it in
serve.py      what each message does
outcomes.py   Served, or Refused and why
"""

from order_service.after_sale.facts import AfterSale
from order_service.after_sale.outcomes import Refused, Served
from order_service.after_sale.serve import AfterSaleMessage, is_after_sale, serve

__all__ = ["AfterSale", "AfterSaleMessage", "Refused", "Served", "is_after_sale", "serve"]
