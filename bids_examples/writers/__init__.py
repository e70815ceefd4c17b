"""Writers of the example datasets, a file per dataset.

Everything is seeded: every run writes the same bytes.
"""

from bids_examples.writers.echo_time_array import make_echo_time_array
from bids_examples.writers.mrf import make_mrf
from bids_examples.writers.qsiprep import make_qsiprep
from bids_examples.writers.t1_t2 import make_t1_t2
from bids_examples.writers.zebra import make_zebra

#: folder of each dataset -> what writes it and its truth
MAKERS = {
    "zebra_t2star-adc": make_zebra,
    "echotime-array": make_echo_time_array,
    "t1-t2_mese": make_t1_t2,
    "mrf": make_mrf,
    "qsiprep_t2-adc": make_qsiprep,
}
