from c2p.encoder import Encoder as Encoder
from c2p.encoder import load as load
