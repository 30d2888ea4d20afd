import { defineAgent } from '@livekit/agents';

function loadModel() {
  for (;;);
}

export default defineAgent({
  prewarm: () => {
    loadModel();
  },
  entry: async () => {},
});
