/** Where the models lie that come with Tapline: beside the sources, and in a bundle beside the program. */
import { fileURLToPath } from 'node:url';

export const SHIPPED_MODELS = fileURLToPath(new URL('../../models', import.meta.url));
